"""Clients' holds: what was captured is what the captures took, and everything about them is told."""

# Queries are put together of constants of this package alone.
# ruff: noqa: S608

from typing import Final

from ledger.invariants.invariant import NothingIn, Pass
from ledger.invariants.outbox import KEPT_SINCE
from ledger.invariants.snapshot import Rows

_HAS_DRAWN: Final = """EXISTS (
                SELECT FROM ledger.transaction_steps s WHERE s.transaction_id = t.transaction_id
                AND s.step IN ('capture_hold', 'send_transfer') AND s.outcome = 'posted')"""
"""Of a transfer that names a hold: it took from it, whatever became of it on the receiver's shard."""

CAPTURES: Final = NothingIn(
    number=11,
    name="captures",
    sentence="A client's hold has captured what its captures took from its wallet, all of them before it ended.",
    rows=Rows.HOLDS,
    query=f"""
        SELECT 'hld_' || replace(h.hold_id::text, '-', '') AS subject,
               format('%s since %s, captured %s of %s; its %s captures took %s, the last at %s', h.status,
                      coalesce(h.ended_at::text, '-'), h.captured, h.amount, c.captures, c.amount,
                      coalesce(c.last_at::text, '-')) AS detail
        FROM ledger.holds h LEFT JOIN ledger.accounts a USING (account_id) CROSS JOIN LATERAL (
            SELECT count(*) AS captures, coalesce(sum(t.amount), 0) AS amount, max(t.created_at) AS last_at,
                   coalesce(bool_and(t.source_wallet_id = h.account_id AND t.client_id = h.client_id
                                     AND t.currency = h.currency), true) AS fit
            FROM ledger.transactions t WHERE t.hold_id = h.hold_id AND {_HAS_DRAWN}
        ) c
        WHERE h.hold_id > :low AND h.hold_id <= :high AND h.client_id IS NOT NULL
          AND (h.captured <> c.amount OR NOT c.fit OR c.last_at > h.ended_at
               OR (h.status = 'captured' AND h.ended_at IS DISTINCT FROM c.last_at)
               OR (h.status <> 'failed' AND a.currency IS DISTINCT FROM h.currency)
               OR a.client_id IS DISTINCT FROM h.client_id)
        UNION ALL
        SELECT 'txn_' || replace(t.transaction_id::text, '-', ''), 'captures a hold that is not there'
        FROM ledger.transactions t
        WHERE t.hold_id > :low AND t.hold_id <= :high AND NOT EXISTS (
            SELECT FROM ledger.holds h WHERE h.hold_id = t.hold_id AND h.client_id IS NOT NULL)
        UNION ALL
        SELECT 'txn_' || replace(t.transaction_id::text, '-', ''), format('%s, but names a hold', s.step)
        FROM ledger.transactions t JOIN ledger.transaction_steps s USING (transaction_id)
        WHERE t.hold_id > :low AND t.hold_id <= :high AND s.step = 'settle_transfer'
    """,
)

HOLDS_TOLD: Final = NothingIn(
    number=10,
    name="hold events",
    sentence="Everything that happened to a client's hold is told once in the outbox, and nothing else is.",
    rows=Rows.HOLDS,
    goes=Pass.WHOLE,
    query=f"""
        WITH wanted AS (
            SELECT hold_id, CASE status WHEN 'failed' THEN 'hold.failed' ELSE 'hold.placed' END AS type,
                   1 AS times, created_at AS at
            FROM ledger.holds WHERE client_id IS NOT NULL
            UNION ALL
            SELECT hold_id, 'hold.' || status, 1, ended_at FROM ledger.holds WHERE client_id IS NOT NULL
               AND status IN ('released', 'expired')
            UNION ALL
            SELECT hold_id, 'hold.captured', count(*), min(created_at)
            FROM ledger.transactions t WHERE hold_id IS NOT NULL AND {_HAS_DRAWN} GROUP BY hold_id
        ), told AS (
            SELECT key, type, count(*) AS times FROM ledger.outbox WHERE type LIKE 'hold.%' GROUP BY key, type
        )
        SELECT coalesce(told.key, wanted.key) AS subject,
               format('%s is told %s times', coalesce(told.type, wanted.type), coalesce(told.times, 0)) AS detail
        FROM (SELECT *, 'hld_' || replace(hold_id::text, '-', '') AS key FROM wanted) wanted
        FULL JOIN told ON told.key = wanted.key AND told.type = wanted.type
        WHERE wanted.key IS NULL OR (told.times IS DISTINCT FROM wanted.times AND wanted.at >= {KEPT_SINCE})
           OR told.times > wanted.times
    """,
)
