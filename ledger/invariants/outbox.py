"""Events: nothing that happened is missing from the outbox, and nothing in it did not happen."""

# Queries are put together of constants of this package alone.
# ruff: noqa: S608

from typing import Final

from ledger.invariants.invariant import NothingIn, Pass
from ledger.invariants.snapshot import RULES_TABLE, Rows

# Old days are dropped whole. An hour is more than any commit takes, so a row at the edge is not missed by mistake.
KEPT_SINCE: Final = r"""(
    SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''([^'']+)''')::timestamptz)
           + interval '1 hour'
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'ledger.outbox'::regclass)"""

PAYMENTS_TOLD: Final = NothingIn(
    number=10,
    name="payment events",
    sentence="Every status a payment has had is told once in the outbox, and nothing else is.",
    rows=Rows.TRANSACTIONS,
    goes=Pass.WHOLE,
    query=f"""
        WITH wanted AS (
            SELECT t.transaction_id, t.completed_at AS at,
                   'transaction.' || CASE t.status WHEN 'succeeded' THEN 'completed' ELSE t.status END AS type
            FROM ledger.transactions t WHERE t.completed_at IS NOT NULL
            UNION ALL
            SELECT s.transaction_id, s.created_at, 'transaction.processing'
            FROM ledger.transaction_steps s JOIN {RULES_TABLE} ON rule.step = s.step
            WHERE rule.first AND s.outcome = 'posted' AND rule.result = 'processing'
            UNION ALL
            SELECT s.transaction_id, s.created_at, 'transaction.completed'
            FROM ledger.transactions t JOIN ledger.transaction_steps s USING (transaction_id)
            JOIN {RULES_TABLE} ON rule.step = s.step
            WHERE t.status = 'returned' AND rule.result = 'succeeded'
        ), told AS (
            SELECT key, type, count(*) AS times FROM ledger.outbox
            WHERE type LIKE 'transaction.%' AND type NOT LIKE 'transaction.attention%' GROUP BY key, type
        )
        SELECT coalesce(told.key, wanted.key) AS subject,
               format('%s is told %s times', coalesce(told.type, wanted.type), coalesce(told.times, 0)) AS detail
        FROM (SELECT *, 'txn_' || replace(transaction_id::text, '-', '') AS key FROM wanted) wanted
        FULL JOIN told ON told.key = wanted.key AND told.type = wanted.type
        WHERE (told.key IS NULL AND wanted.at >= {KEPT_SINCE}) OR wanted.key IS NULL OR told.times > 1
    """,
)

ENTRIES_TOLD: Final = NothingIn(
    number=10,
    name="entry events",
    sentence="Every entry is told once in the outbox, as it is.",
    rows=Rows.ENTRIES,
    goes=Pass.WHOLE,
    query=f"""
        WITH told AS (
            SELECT data->>'entry_id' AS entry, count(*) AS times, max(key) AS account,
                   max((data->>'amount')::bigint) AS amount, max((data->>'balance_after')::bigint) AS balance_after,
                   max((data->>'version')::bigint) AS version, max(data->>'side') AS side
            FROM ledger.outbox WHERE type = 'entry.posted' GROUP BY 1
        )
        SELECT coalesce(told.entry, wanted.entry) AS subject,
               CASE WHEN told.entry IS NULL THEN 'is not told' WHEN wanted.entry IS NULL THEN 'is told but not recorded'
                    ELSE format('is told %s times, as %s %s, version %s', times, told.side, told.amount, told.version)
                    END AS detail
        FROM (SELECT *, 'ent_' || replace(entry_id::text, '-', '') AS entry FROM ledger.ledger_entries) wanted
        FULL JOIN told ON told.entry = wanted.entry
        WHERE (told.entry IS NULL AND wanted.created_at >= {KEPT_SINCE}) OR wanted.entry IS NULL
           OR (told.entry IS NOT NULL AND (times, told.amount, told.balance_after, told.version, told.side,
                                           right(told.account, 32))
               IS DISTINCT FROM (1, wanted.amount, wanted.balance_after, wanted.version, wanted.type,
                                 replace(wanted.account_id::text, '-', '')))
    """,
)
