"""Accounts: what is stored against what was written, and what may be spent against what is held."""

# Queries are put together of constants of this package alone.
# ruff: noqa: S608

from typing import Final

from ledger.accounts import CREDIT_NORMAL
from ledger.invariants.invariant import NothingIn, Pass
from ledger.invariants.snapshot import Rows

_ACCOUNT: Final = "coalesce(a.code, 'wal_' || replace(a.account_id::text, '-', ''))"
_CREDIT_NORMAL: Final = ", ".join(f"'{kind}'" for kind in sorted(CREDIT_NORMAL))
_CHANGE: Final = f"CASE WHEN (e.type = 'CREDIT') = (a.kind IN ({_CREDIT_NORMAL})) THEN e.amount ELSE -e.amount END"

FLOORS: Final = NothingIn(
    number=2,
    name="floors",
    sentence="Balance less held is at or above the floor on every account, and a wallet's floor is 0.",
    rows=Rows.ACCOUNTS,
    query=f"""
        SELECT {_ACCOUNT} AS subject,
               format('balance %s, held %s, floor %s', balance, held, coalesce(floor::text, 'none')) AS detail
        FROM ledger.accounts a WHERE account_id > :low AND account_id <= :high
        AND (balance - held < floor OR held < 0 OR (kind = 'wallet' AND floor IS DISTINCT FROM 0))
    """,
)

HELD: Final = NothingIn(
    number=2,
    name="held amounts",
    sentence="What an account has held is the sum of what remains of its active holds.",
    rows=Rows.ACCOUNTS,
    query=f"""
        SELECT {_ACCOUNT} AS subject,
               format('held is %s, its active holds sum to %s', a.held, coalesce(h.amount, 0)) AS detail
        FROM (SELECT * FROM ledger.accounts WHERE account_id > :low AND account_id <= :high) a
        FULL JOIN (
            SELECT account_id, sum(amount - captured) AS amount FROM ledger.holds
            WHERE status = 'active' AND account_id > :low AND account_id <= :high GROUP BY account_id
        ) h USING (account_id)
        WHERE a.held IS DISTINCT FROM coalesce(h.amount, 0)
    """,
)

BALANCES: Final = NothingIn(
    number=4,
    name="balances",
    sentence="A stored balance is the sum of its entries, and its version their number.",
    rows=Rows.ACCOUNTS,
    query=f"""
        SELECT {_ACCOUNT} AS subject,
               format('balance %s at version %s, but %s entries sum to %s', a.balance, a.version, s.lines, s.balance)
                   AS detail
        FROM ledger.accounts a CROSS JOIN LATERAL (
            SELECT count(*) AS lines, coalesce(sum({_CHANGE}), 0) AS balance
            FROM ledger.ledger_entries e WHERE e.account_id = a.account_id
        ) s
        WHERE a.account_id > :low AND a.account_id <= :high AND (a.balance <> s.balance OR a.version <> s.lines)
    """,
)

RUNNING_BALANCES: Final = NothingIn(
    number=4,
    name="statements",
    sentence="Each entry carries the running balance; versions count 1, 2, 3 …; time never runs backwards.",
    rows=Rows.ACCOUNTS,
    query=f"""
        SELECT 'ent_' || replace(entry_id::text, '-', '') AS subject,
               format('version %s after %s, balance %s after %s with a change of %s %s, at %s after %s', version,
                      prior_version, balance_after, prior_balance, change, currency, created_at, prior_at) AS detail
        FROM (
            SELECT e.entry_id, e.version, e.balance_after, e.created_at, e.currency, a.currency AS account_currency,
                   {_CHANGE} AS change,
                   lag(e.version, 1, 0::bigint) OVER statement AS prior_version,
                   lag(e.balance_after, 1, 0::bigint) OVER statement AS prior_balance,
                   lag(e.created_at) OVER statement AS prior_at
            FROM ledger.ledger_entries e LEFT JOIN ledger.accounts a USING (account_id)
            WHERE e.account_id > :low AND e.account_id <= :high
            WINDOW statement AS (PARTITION BY e.account_id ORDER BY e.version, e.entry_id)
        ) line
        WHERE version <> prior_version + 1 OR balance_after <> prior_balance + change OR created_at < prior_at
           OR currency IS DISTINCT FROM account_currency
    """,
)

SHARD_SUM: Final = NothingIn(
    number=1,
    name="shard sum",
    sentence="All entries of a shard, and all its balances, sum to zero in every currency.",
    rows=Rows.ENTRIES,
    goes=Pass.WHOLE,
    query=f"""
        SELECT currency AS subject, format('%s sum to %s', what, total) AS detail FROM (
            SELECT currency, 'entries' AS what, sum(CASE type WHEN 'DEBIT' THEN amount ELSE -amount END) AS total
            FROM ledger.ledger_entries GROUP BY currency
            UNION ALL
            SELECT currency, 'balances', sum(CASE WHEN kind IN ({_CREDIT_NORMAL}) THEN -balance ELSE balance END)
            FROM ledger.accounts GROUP BY currency
        ) sums WHERE total <> 0
    """,
)

DUES: Final = NothingIn(
    number=7,
    name="dues",
    sentence="What is due to or from another shard names one that there is, and is never below zero.",
    rows=Rows.ACCOUNTS,
    query="""
        SELECT code AS subject, format('balance %s, on shard %s of %s', balance, number, count) AS detail
        FROM ledger.accounts a LEFT JOIN ledger.shard ON true
        WHERE account_id > :low AND account_id <= :high AND kind IN ('due_to', 'due_from')
        AND (balance < 0 OR number IS NULL OR split_part(code, ':', 2)::int NOT BETWEEN 0 AND count - 1
             OR split_part(code, ':', 2)::int = number)
    """,
)
