"""Payments: one per key, one outcome per step, a status that follows from the steps, holds that follow too."""

# Queries are put together of constants of this package alone.
# ruff: noqa: S608

from typing import Final

from ledger.invariants.invariant import NothingIn, Pass
from ledger.invariants.snapshot import RULES_TABLE, Rows

_SUBJECT: Final = "'txn_' || replace(transaction_id::text, '-', '')"

KEYS: Final = NothingIn(
    number=5,
    name="idempotency keys",
    sentence="One key stands for one recorded payment, batch or hold, none has two; no two payments share a workflow.",
    rows=Rows.KEYS,
    goes=Pass.WHOLE,
    query=f"""
        SELECT coalesce(max(t.prefix), 'txn_') || replace(transaction_id::text, '-', '') AS subject,
               CASE WHEN count(t.prefix) = 0 THEN 'has a key but is not recorded'
                    ELSE format('has %s keys', count(k.key_digest)) END AS detail
        FROM ledger.idempotency_keys k FULL JOIN (
            SELECT transaction_id, 'txn_' AS prefix FROM ledger.transactions
            UNION ALL SELECT batch_id, 'tb_' FROM ledger.transfer_batches
            UNION ALL SELECT hold_id, 'hld_' FROM ledger.holds WHERE client_id IS NOT NULL
            UNION ALL SELECT transaction_id, 'txn_' FROM ledger.transaction_steps s
                      JOIN {RULES_TABLE} ON rule.step = s.step AND rule.elsewhere
        ) t USING (transaction_id)
        GROUP BY transaction_id HAVING count(k.key_digest) <> 1 OR count(t.prefix) = 0
        UNION ALL
        SELECT workflow_id, format('stands for %s transactions', count(*)) FROM ledger.transactions
        GROUP BY workflow_id HAVING count(*) > 1
    """,
)

STEPS_IN_ORDER: Final = NothingIn(
    number=6,
    name="steps in order",
    sentence="Every step has one outcome, belongs to its payment's kind and follows the steps its rule wants.",
    rows=Rows.TRANSACTIONS,
    query=f"""
        WITH steps AS (
            SELECT * FROM ledger.transaction_steps WHERE transaction_id > :low AND transaction_id <= :high
        )
        SELECT {_SUBJECT} AS subject,
               format('%s %s of %s, after %s', s.step, s.outcome, coalesce('a ' || t.kind, 'no payment'), (
                      SELECT string_agg(o.step || ' ' || o.outcome, ', ' ORDER BY o.created_at) FROM steps o
                      WHERE o.transaction_id = s.transaction_id AND o.step <> s.step)) AS detail
        FROM (SELECT *, count(*) OVER (PARTITION BY transaction_id, step) AS outcomes FROM steps) s
        LEFT JOIN ledger.transactions t USING (transaction_id)
        LEFT JOIN {RULES_TABLE} ON rule.step = s.step
        WHERE s.outcomes <> 1 OR rule.step IS NULL
           OR t.kind IS DISTINCT FROM CASE WHEN NOT rule.elsewhere THEN rule.kind END
           OR (rule.hold = 'draw' AND t.hold_id IS NULL)
           OR (s.outcome = 'refused' AND NOT (rule.first OR rule.elsewhere))
           OR (rule.prior IS NOT NULL AND NOT EXISTS (
               SELECT FROM steps o
               WHERE o.transaction_id = s.transaction_id AND o.step = rule.prior AND o.outcome = 'posted'))
           OR (s.outcome = 'posted' AND EXISTS (
               SELECT FROM steps o
               WHERE o.transaction_id = s.transaction_id AND o.step = rule.excluded AND o.outcome = 'posted'))
    """,
)

STATUS: Final = NothingIn(
    number=9,
    name="statuses",
    sentence="A payment's status is where its steps lead; the last one made it final, in the same commit.",
    rows=Rows.TRANSACTIONS,
    query=f"""
        SELECT {_SUBJECT} AS subject,
               format('is %s since %s, but its steps lead to %s at %s%s', status, coalesce(completed_at::text, '-'),
                      coalesce(result, 'nothing'), coalesce(ended_at::text, '-'),
                      CASE WHEN endings > 1 THEN format(' (%s endings)', endings) ELSE '' END) AS detail
        FROM (
            SELECT t.transaction_id, t.status, t.completed_at, t.created_at, t.failure_code,
                   count(*) FILTER (WHERE s.result IN ('succeeded', 'failed')) AS endings,
                   coalesce(max(s.result) FILTER (WHERE s.result = 'returned'),
                            max(s.result) FILTER (WHERE s.result IN ('succeeded', 'failed')), max(s.result)) AS result,
                   max(s.created_at) FILTER (WHERE s.result IN ('succeeded', 'failed', 'returned')) AS ended_at,
                   min(s.created_at) FILTER (WHERE s.first) AS began_at,
                   max(s.refusal_code) AS refusal_code
            FROM ledger.transactions t LEFT JOIN (
                SELECT s.transaction_id, s.created_at, s.refusal_code, rule.first,
                       CASE s.outcome WHEN 'refused' THEN 'failed' ELSE rule.result END AS result
                FROM ledger.transaction_steps s JOIN {RULES_TABLE} ON rule.step = s.step
                WHERE s.transaction_id > :low AND s.transaction_id <= :high
            ) s USING (transaction_id)
            WHERE t.transaction_id > :low AND t.transaction_id <= :high
            GROUP BY t.transaction_id
        ) payment
        WHERE status IS DISTINCT FROM result OR completed_at IS DISTINCT FROM ended_at OR endings > 1
           OR created_at IS DISTINCT FROM began_at
           OR (refusal_code IS NOT NULL AND failure_code IS DISTINCT FROM refusal_code)
    """,
)

TIMELINE: Final = NothingIn(
    number=6,
    name="timelines",
    sentence="Every step is in its payment's timeline once, with its outcome, since the same commit.",
    rows=Rows.TRANSACTIONS,
    query=f"""
        SELECT {_SUBJECT} AS subject,
               format('%s: %s in the steps, %s in the timeline', step, coalesce(s.outcome, 'nothing'),
                      coalesce(e.types, 'nothing')) AS detail
        FROM (
            SELECT * FROM ledger.transaction_steps WHERE transaction_id > :low AND transaction_id <= :high
        ) s FULL JOIN (
            SELECT transaction_id, step, string_agg(type, ' and ') AS types, max(created_at) AS created_at
            FROM ledger.transaction_events
            WHERE transaction_id > :low AND transaction_id <= :high AND type LIKE 'step.%'
            GROUP BY transaction_id, step
        ) e USING (transaction_id, step)
        WHERE 'step.' || s.outcome IS DISTINCT FROM e.types OR s.created_at IS DISTINCT FROM e.created_at
    """,
)

HOLDS: Final = NothingIn(
    number=11,
    name="holds",
    sentence="A hold stands while its payment is undecided, ends as its steps say, and has the payment's amount.",
    rows=Rows.TRANSACTIONS,
    query=f"""
        SELECT {_SUBJECT} AS subject,
               format('hold is %s of %s, captured %s; its steps say %s of %s', coalesce(h.status, 'missing'), h.amount,
                      h.captured, coalesce(w.status, 'none'), t.amount) AS detail
        FROM (
            SELECT transaction_id, CASE WHEN bool_or(rule.hold = 'capture') THEN 'captured'
                                        WHEN bool_or(rule.hold = 'release') THEN 'released'
                                        WHEN bool_or(rule.hold = 'place') THEN 'active' END AS status,
                   max(s.created_at) FILTER (WHERE rule.hold IN ('capture', 'release')) AS ended_at
            FROM ledger.transaction_steps s JOIN {RULES_TABLE} ON rule.step = s.step
            WHERE s.transaction_id > :low AND s.transaction_id <= :high AND s.outcome = 'posted'
              AND rule.hold IN ('place', 'capture', 'release')
            GROUP BY transaction_id
        ) w FULL JOIN (
            SELECT * FROM ledger.holds
            WHERE transaction_id > :low AND transaction_id <= :high AND available_at IS NULL
        ) h USING (transaction_id) LEFT JOIN ledger.transactions t USING (transaction_id)
        WHERE h.status IS DISTINCT FROM w.status OR h.ended_at IS DISTINCT FROM w.ended_at
           OR h.amount IS DISTINCT FROM t.amount OR h.account_id IS DISTINCT FROM t.source_wallet_id
           OR h.captured IS DISTINCT FROM CASE w.status WHEN 'captured' THEN t.amount ELSE 0 END
           OR (h.status = 'active') IS DISTINCT FROM (h.status = 'active' AND t.status IN ('pending', 'processing'))
    """,
)

DEFERRED: Final = NothingIn(
    number=11,
    name="deferred deposits",
    sentence="What waits of a deposit is what its credit said, on its wallet, until it matures or comes back.",
    rows=Rows.TRANSACTIONS,
    query=f"""
        SELECT {_SUBJECT} AS subject,
               format('waits: %s of %s since %s, captured %s; its steps say %s of %s', coalesce(h.status, 'nothing'),
                      h.amount, h.created_at, h.captured, coalesce(w.status, 'nothing'), w.amount) AS detail
        FROM (
            SELECT *, CASE WHEN matured_at IS NOT NULL THEN 'released' WHEN returned_at IS NOT NULL THEN 'captured'
                           WHEN amount IS NOT NULL THEN 'active' END AS status
            FROM (
                SELECT transaction_id, max(created_at) FILTER (WHERE step = 'credit_deposit') AS credited_at,
                       max((detail->>'deferred')::bigint) FILTER (WHERE step = 'credit_deposit') AS amount,
                       max((detail->>'available_at')::timestamptz) AS available_at,
                       max(created_at) FILTER (WHERE step = 'mature_deposit') AS matured_at,
                       max(effective_at) FILTER (WHERE step = 'mature_deposit') AS matured_on,
                       max(created_at) FILTER (WHERE step = 'return_deposit') AS returned_at
                FROM ledger.transaction_events
                WHERE transaction_id > :low AND transaction_id <= :high AND type = 'step.posted'
                GROUP BY transaction_id
            ) steps WHERE amount IS NOT NULL OR matured_at IS NOT NULL
        ) w FULL JOIN (
            SELECT * FROM ledger.holds
            WHERE transaction_id > :low AND transaction_id <= :high AND available_at IS NOT NULL
        ) h USING (transaction_id) LEFT JOIN ledger.transactions t USING (transaction_id)
        WHERE h.status IS DISTINCT FROM w.status OR h.amount IS DISTINCT FROM w.amount
           OR h.ended_at IS DISTINCT FROM coalesce(w.matured_at, w.returned_at)
           OR h.available_at IS DISTINCT FROM w.available_at OR w.matured_on < w.available_at
           OR h.created_at IS DISTINCT FROM w.credited_at OR h.amount > t.amount
           OR h.account_id IS DISTINCT FROM t.destination_wallet_id OR h.currency IS DISTINCT FROM t.currency
           OR h.captured IS DISTINCT FROM CASE w.status WHEN 'captured' THEN h.amount ELSE 0 END
    """,
)
