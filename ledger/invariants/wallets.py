"""Wallets: rules that operators have set, and what counts against the limits."""

# Queries are put together of constants of this package alone.
# ruff: noqa: S608

from typing import Final

from domain.calendar import BANKING_ZONE
from ledger.invariants.invariant import NothingIn, Pass
from ledger.invariants.snapshot import NUMBERED, RULES_TABLE, Rows

_WALLET: Final = "'wal_' || replace(account_id::text, '-', '')"

RULES_AS_CHANGED: Final = NothingIn(
    number=3,
    name="wallet rules",
    sentence="A wallet's rules are what its last change made of them; changes count 1, 2, 3 …; a closed one is empty.",
    rows=Rows.ACCOUNTS,
    query=f"""
        SELECT {_WALLET} AS subject,
               format('is %s (debits frozen %s, credits frozen %s, limits %s and %s); change %s of %s left it %s',
                      a.status, a.debits_frozen, a.credits_frozen, coalesce(a.limit_per_transaction::text, 'none'),
                      coalesce(a.limit_daily::text, 'none'), c.number, coalesce(c.changes, 0),
                      coalesce(c.status, 'as it was opened')) AS detail
        FROM (SELECT * FROM ledger.accounts WHERE account_id > :low AND account_id <= :high) a
        FULL JOIN (
            SELECT DISTINCT ON (account_id) *, count(*) OVER (PARTITION BY account_id) AS changes
            FROM ledger.account_changes WHERE account_id > :low AND account_id <= :high
            ORDER BY account_id, number DESC
        ) c USING (account_id)
        WHERE a.status IS DISTINCT FROM coalesce(c.status, 'active')
           OR a.debits_frozen IS DISTINCT FROM coalesce(c.debits_frozen, false)
           OR a.credits_frozen IS DISTINCT FROM coalesce(c.credits_frozen, false)
           OR c.number IS NOT NULL AND (c.number <> c.changes
              OR a.limit_per_transaction IS DISTINCT FROM c.limit_per_transaction
              OR a.limit_daily IS DISTINCT FROM c.limit_daily)
           OR a.status = 'closed' AND (a.balance <> 0 OR a.held <> 0)
    """,
)

OWED: Final = NothingIn(
    number=8,
    name="debts",
    sentence="A wallet owes what returned deposits had brought, less what was collected or written off; "
    "together, what is receivable.",
    rows=Rows.ACCOUNTS,
    goes=Pass.WHOLE,
    query=f"""
        SELECT {_WALLET} AS subject, format('owes %s, its records say %s', owed, recorded) AS detail
        FROM (
            SELECT a.account_id, a.owed, coalesce(sum(d.amount), 0) AS recorded FROM ledger.accounts a LEFT JOIN (
                SELECT t.destination_wallet_id AS account_id, t.amount
                FROM ledger.transactions t JOIN ledger.transaction_steps s USING (transaction_id)
                WHERE s.step = 'return_deposit' AND s.outcome = 'posted'
                UNION ALL
                SELECT account_id, -amount FROM {NUMBERED} e WHERE e.place > 2 AND e.type = 'DEBIT'
                UNION ALL
                SELECT wallet_id, -written_off FROM ledger.write_offs JOIN ledger.write_off_marks m USING (write_off_id)
                WHERE m.mark = 'approved'
            ) d USING (account_id) WHERE a.kind = 'wallet' GROUP BY a.account_id
        ) debt WHERE owed <> recorded
        UNION ALL
        SELECT currency, format('wallets owe %s, receivable is %s', sum(owed), sum(balance))
        FROM (
            SELECT currency, owed, CASE kind WHEN 'receivable' THEN balance ELSE 0 END AS balance FROM ledger.accounts
        ) a GROUP BY currency HAVING sum(owed) <> sum(balance)
    """,
)

WRITTEN_OFF: Final = NothingIn(
    number=8,
    name="write-offs",
    sentence="Losses hold exactly what was written off, each by two people's word, posted once.",
    rows=Rows.ACCOUNTS,
    goes=Pass.WHOLE,
    query="""
        SELECT coalesce(m.currency, a.currency) AS subject,
               format('losses are %s, %s was written off', coalesce(a.balance, 0), coalesce(m.amount, 0)) AS detail
        FROM (
            SELECT currency, sum(amount) AS amount FROM (
                SELECT currency, written_off AS amount FROM ledger.write_offs
                JOIN ledger.write_off_marks USING (write_off_id) WHERE mark = 'approved'
                UNION ALL
                SELECT i.currency, -i.moved FROM ledger.suspense_items i
                JOIN ledger.transaction_steps s ON s.transaction_id = i.item_id
                WHERE s.step IN ('write_off_outgoing', 'write_off_incoming') AND s.outcome = 'posted'
            ) lost GROUP BY currency
        ) m FULL JOIN (
            SELECT currency, sum(balance) AS balance FROM ledger.accounts WHERE kind = 'losses' GROUP BY currency
        ) a USING (currency)
        WHERE coalesce(a.balance, 0) <> coalesce(m.amount, 0)
        UNION ALL
        SELECT 'txn_' || replace(coalesce(w.write_off_id, s.transaction_id)::text, '-', ''),
               format('asked by %s, %s by %s, posted %s', w.asked_by, w.mark, w.marked_by, s.transaction_id IS NOT NULL)
        FROM (
            SELECT w.write_off_id, w.asked_by, w.amount, m.mark, m.marked_by, m.written_off
            FROM ledger.write_offs w JOIN ledger.write_off_marks m USING (write_off_id) WHERE m.mark = 'approved'
        ) w FULL JOIN (
            SELECT transaction_id FROM ledger.transaction_steps WHERE step = 'write_off_debt' AND outcome = 'posted'
        ) s ON s.transaction_id = w.write_off_id
        WHERE w.write_off_id IS NULL OR s.transaction_id IS NULL OR w.asked_by = w.marked_by OR w.written_off > w.amount
        UNION ALL
        SELECT 'txn_' || replace(s.transaction_id::text, '-', ''), s.step || ' by less than two people''s word'
        FROM ledger.transaction_steps s
        WHERE s.step IN ('write_off_outgoing', 'write_off_incoming') AND NOT EXISTS (
            SELECT FROM ledger.operator_actions a JOIN ledger.operator_action_marks m USING (action_id)
            WHERE a.transaction_id = s.transaction_id AND a.outcome = 'written_off' AND m.mark = 'approved'
              AND m.marked_by <> a.asked_by
        )
    """,
)

SPENT: Final = NothingIn(
    number=2,
    name="spent",
    sentence="What counts against a wallet's daily limit is not less than what left it that day and did not come back.",
    rows=Rows.TRANSACTIONS,
    goes=Pass.WHOLE,
    query=f"""
        SELECT {_WALLET} AS subject,
               format('%s counted on %s, but %s left', a.spent, a.spent_on, gone.amount) AS detail
        FROM ledger.accounts a JOIN (
            SELECT account_id, (effective_at AT TIME ZONE '{BANKING_ZONE.key}')::date AS day, sum(amount) AS amount
            FROM (
                SELECT t.source_wallet_id AS account_id, t.effective_at, t.amount
                FROM ledger.transactions t JOIN ledger.transaction_steps s USING (transaction_id)
                JOIN {RULES_TABLE} ON rule.step = s.step
                WHERE s.outcome = 'posted' AND rule.spends AND t.status <> 'failed' AND t.hold_id IS NULL
                UNION ALL
                SELECT account_id, effective_at, CASE status WHEN 'active' THEN amount ELSE captured END
                FROM ledger.holds WHERE client_id IS NOT NULL AND status <> 'failed'
            ) payment GROUP BY 1, 2
        ) gone USING (account_id)
        WHERE gone.day > coalesce(a.spent_on, '-infinity') OR (gone.day = a.spent_on AND gone.amount > a.spent)
    """,
)
