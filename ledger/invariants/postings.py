"""Postings: they sum to zero, and each is what its step's rule says over the transaction's amount."""

# Queries are put together of constants of this package alone.
# ruff: noqa: S608

from typing import Final

from ledger.invariants.invariant import NothingIn, Pass
from ledger.invariants.snapshot import NUMBERED, RULES_TABLE, Rows

SUM_TO_ZERO: Final = NothingIn(
    number=1,
    name="postings sum to zero",
    sentence="The entries of every posting sum to zero in every currency.",
    rows=Rows.ENTRIES,
    goes=Pass.WHOLE,
    query="""
        SELECT 'pst_' || replace(posting_id::text, '-', '') AS subject,
               format('sums to %s %s', sum(CASE type WHEN 'DEBIT' THEN amount ELSE -amount END), currency) AS detail
        FROM ledger.ledger_entries GROUP BY posting_id, currency
        HAVING sum(CASE type WHEN 'DEBIT' THEN amount ELSE -amount END) <> 0
    """,
)

# What follows a step's first two entries collects what a wallet owes.
_COLLECTS: Final = """CASE e.type WHEN 'DEBIT' THEN a.kind = 'wallet' AND (
    t.transaction_id IS NULL OR a.account_id IN (t.source_wallet_id, t.destination_wallet_id))
    ELSE a.kind = 'receivable' END AND e.type = CASE e.place % 2 WHEN 1 THEN 'DEBIT' ELSE 'CREDIT' END"""

# Whether an entry is on the account that the rule names for its side.
_RIGHT_ACCOUNT: Final = """CASE CASE e.type WHEN 'DEBIT' THEN rule.debit ELSE rule.credit END
    WHEN 'source_wallet' THEN a.account_id = t.source_wallet_id
    WHEN 'destination_wallet' THEN a.account_id = t.destination_wallet_id
    WHEN 'clearing' THEN a.kind = 'clearing' AND split_part(split_part(a.code, ':', 2), '.', 1) = t.bank
        AND split_part(split_part(a.code, ':', 2), '.', 2) = ANY(string_to_array(t.rails, ','))
    WHEN 'bank_settlement' THEN a.kind = 'bank_settlement' AND split_part(a.code, ':', 2) = t.bank
    WHEN 'receivable' THEN a.kind = 'receivable'
    WHEN 'due_to' THEN a.kind = 'due_to' AND split_part(a.code, ':', 2)::int = (
        SELECT ('x' || right(t.destination_wallet_id::text, 3))::bit(12)::int * count / 4096 FROM ledger.shard)
    END"""

# Taken for a payment of another shard, which alone knows the amount; `ledger/invariants/between.py` compares.
_RIGHT_ELSEWHERE: Final = """t.transaction_id IS NULL AND CASE e.type
    WHEN 'DEBIT' THEN a.kind = rule.debit AND split_part(a.code, ':', 2)::int = (
        SELECT ('x' || right(p.transaction_id::text, 3))::bit(12)::int * count / 4096 FROM ledger.shard)
    ELSE a.kind = 'wallet' END"""

# What a bank has moved and is no payment's: its item has the amount, and the bank whose settlement account it is.
_RIGHT_SUSPENSE: Final = """e.amount = abs(i.moved) AND e.currency = i.currency
    AND split_part(a.code, ':', 2) = i.bank AND (i.moved > 0) = (rule.step LIKE '%_incoming')
    AND a.kind = CASE e.type WHEN 'DEBIT' THEN rule.debit ELSE rule.credit END"""

# A debt that is written off: as its approval says.
_RIGHT_WRITE_OFF: Final = """e.amount = w.written_off AND e.currency = w.currency
    AND a.kind = CASE e.type WHEN 'DEBIT' THEN rule.debit ELSE rule.credit END"""

AS_RULED: Final = NothingIn(
    number=1,
    name="postings as ruled",
    sentence="A posting is made by one posted step: the amount as its rule says, then what is collected of debts.",
    rows=Rows.POSTINGS,
    goes=Pass.WHOLE,
    query=f"""
        SELECT 'pst_' || replace(coalesce(p.posting_id, e.posting_id)::text, '-', '') AS subject,
               format('%s of %s: %s entries%s', coalesce(min(p.step), 'no posting'),
                      coalesce('txn_' || replace(min(p.transaction_id::text), '-', ''), 'no transaction'),
                      count(e.entry_id), CASE count(s.posting_id) WHEN 0 THEN ', no posted step' ELSE '' END) AS detail
        FROM ledger.postings p
        FULL JOIN {NUMBERED} e ON e.posting_id = p.posting_id
        LEFT JOIN ledger.transactions t ON t.transaction_id = p.transaction_id
        LEFT JOIN ledger.transaction_steps s
            ON s.transaction_id = p.transaction_id AND s.step = p.step AND s.outcome = 'posted'
        LEFT JOIN ledger.suspense_items i ON i.item_id = p.transaction_id
        LEFT JOIN (
            SELECT write_off_id, currency, written_off FROM ledger.write_offs JOIN ledger.write_off_marks
            USING (write_off_id)
        ) w ON w.write_off_id = p.transaction_id
        LEFT JOIN ledger.accounts a ON a.account_id = e.account_id
        LEFT JOIN {RULES_TABLE} ON rule.step = p.step
        GROUP BY coalesce(p.posting_id, e.posting_id)
        HAVING count(e.entry_id) FILTER (WHERE e.place <= 2) <> 2 OR count(e.entry_id) % 2 <> 0
            OR count(DISTINCT e.type) FILTER (WHERE e.place <= 2) <> 2 OR NOT bool_and(coalesce(
            s.posting_id = p.posting_id AND e.transaction_id = p.transaction_id AND e.created_at = p.created_at
            AND s.created_at = p.created_at AND a.currency = e.currency AND CASE WHEN e.place > 2
                THEN {_COLLECTS} WHEN rule.elsewhere THEN {_RIGHT_ELSEWHERE}
                WHEN p.step = 'write_off_debt' THEN {_RIGHT_WRITE_OFF}
                WHEN rule.kind IS NULL THEN {_RIGHT_SUSPENSE}
                ELSE e.amount = t.amount AND e.currency = t.currency AND {_RIGHT_ACCOUNT} END, false))
    """,
)

STEPS_POSTED: Final = NothingIn(
    number=6,
    name="steps have postings",
    sentence="Every posted step that moves money has its posting; no other step has one.",
    rows=Rows.TRANSACTIONS,
    query=f"""
        SELECT 'txn_' || replace(s.transaction_id::text, '-', '') AS subject,
               format('%s %s %s', s.step, s.outcome, CASE WHEN p.posting_id IS NULL THEN 'has no posting'
                      ELSE 'has a posting that is not its own' END) AS detail
        FROM ledger.transaction_steps s
        LEFT JOIN {RULES_TABLE} ON rule.step = s.step
        LEFT JOIN ledger.postings p
            ON p.posting_id = s.posting_id AND p.transaction_id = s.transaction_id AND p.step = s.step
        WHERE s.transaction_id > :low AND s.transaction_id <= :high
        AND (s.outcome = 'posted' AND rule.debit IS NOT NULL) IS DISTINCT FROM (p.posting_id IS NOT NULL)
    """,
)

FAILED_MOVED_NOTHING: Final = NothingIn(
    number=6,
    name="failures moved nothing",
    sentence="A failed payment leaves every account as it was, but for debts collected: its entries sum to zero.",
    rows=Rows.ENTRIES,
    goes=Pass.WHOLE,
    query=f"""
        SELECT 'txn_' || replace(transaction_id::text, '-', '') AS subject,
               format('failed, but moved %s on account %s',
                      sum(CASE e.type WHEN 'DEBIT' THEN e.amount ELSE -e.amount END), account_id) AS detail
        FROM ledger.transactions t JOIN {NUMBERED} e USING (transaction_id)
        WHERE t.status = 'failed' AND e.place <= 2 GROUP BY transaction_id, account_id
        HAVING sum(CASE e.type WHEN 'DEBIT' THEN e.amount ELSE -e.amount END) <> 0
    """,
)
