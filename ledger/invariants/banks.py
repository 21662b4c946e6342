"""Our accounts at banks: against our own payments exactly, and against what the banks say as far as it is certain."""

# Queries are put together of constants of this package alone.
# ruff: noqa: S608

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ledger.invariants.invariant import VIOLATIONS_SHOWN, Finding, NothingIn, Pass, Violation
from ledger.invariants.snapshot import RULES_TABLE, Found, Rows, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class BankBalance:
    """What a bank says it holds for us: the settled balance of our settlement account, in minor units."""

    bank: str
    currency: str
    minor_units: int


ReadBanks = Callable[[], Awaitable[Sequence[BankBalance]]]
"""Asks every bank for its statement's balance, in every currency. Raises what its adapter raises."""


def _per_bank(kind: str, statuses: str, more: str = "") -> str:
    # Built of the constants below alone.
    return f"""
        SELECT coalesce(s.bank, a.bank) || ' ' || coalesce(s.currency, a.currency) AS subject,
               format('our %s accounts hold %s, our payments say %s', '{kind}', coalesce(a.balance, 0),
                      coalesce(s.amount, 0)) AS detail
        FROM (SELECT bank, currency, sum(amount) AS amount FROM (
            SELECT t.bank, t.currency, sum(CASE '{kind}' WHEN rule.debit THEN t.amount ELSE -t.amount END) AS amount
            FROM ledger.transactions t JOIN ledger.transaction_steps s USING (transaction_id)
            JOIN {RULES_TABLE} ON rule.step = s.step
            WHERE t.status IN ({statuses}) AND s.outcome = 'posted' AND '{kind}' IN (rule.debit, rule.credit)
            GROUP BY t.bank, t.currency
            {more}
        ) part GROUP BY bank, currency) s FULL JOIN (
            SELECT split_part(split_part(code, ':', 2), '.', 1) AS bank, currency, sum(balance) AS balance
            FROM ledger.accounts WHERE kind = '{kind}' GROUP BY 1, 2
        ) a USING (bank, currency)
        WHERE coalesce(a.balance, 0) <> coalesce(s.amount, 0)
    """


# What is on our accounts at the banks: posted and not cleared. What is written off has left the suspense account only.
_MOVED: Final = """
    SELECT i.bank, i.currency, i.moved FROM ledger.suspense_items i
    WHERE NOT EXISTS (SELECT FROM ledger.transaction_steps s WHERE s.transaction_id = i.item_id
                      AND s.step IN ('clear_outgoing', 'clear_incoming') AND s.outcome = 'posted')
"""
_SUSPENDED: Final = f"""{_MOVED}
      AND NOT EXISTS (SELECT FROM ledger.transaction_steps s WHERE s.transaction_id = i.item_id
                      AND s.step IN ('write_off_outgoing', 'write_off_incoming') AND s.outcome = 'posted')
"""

CLEARING: Final = NothingIn(
    number=8,
    name="clearing",
    sentence="Clearing holds exactly what open payments have accepted but not settled; with nothing in flight, zero.",
    rows=Rows.TRANSACTIONS,
    goes=Pass.WHOLE,
    query=_per_bank("clearing", "'pending', 'processing'"),
)

SETTLED: Final = NothingIn(
    number=8,
    name="settled payments",
    sentence="Bank settlement holds exactly what finished payments have settled, and what suspense items have moved.",
    rows=Rows.TRANSACTIONS,
    goes=Pass.WHOLE,
    query=_per_bank(
        "bank_settlement",
        "'succeeded', 'failed', 'returned'",
        f"UNION ALL SELECT bank, currency, moved FROM ({_MOVED}) kept_items",
    ),
)

SUSPENSE: Final = NothingIn(
    number=8,
    name="suspense",
    sentence="Suspense holds exactly what banks have moved and is no payment's, each item posted once.",
    rows=Rows.TRANSACTIONS,
    goes=Pass.WHOLE,
    query=f"""
        SELECT coalesce(s.bank, a.bank) || ' ' || coalesce(s.currency, a.currency) AS subject,
               format('our suspense accounts hold %s, our items say %s', coalesce(a.balance, 0), coalesce(s.moved, 0))
               AS detail
        FROM (
            SELECT bank, currency, sum(moved) AS moved FROM ({_SUSPENDED}) open_items GROUP BY bank, currency
        ) s FULL JOIN (
            SELECT split_part(code, ':', 2) AS bank, currency, sum(balance) AS balance
            FROM ledger.accounts WHERE kind = 'suspense' GROUP BY 1, 2
        ) a USING (bank, currency)
        WHERE coalesce(a.balance, 0) <> coalesce(s.moved, 0)
        UNION ALL
        SELECT 'txn_' || replace(coalesce(i.item_id, s.transaction_id)::text, '-', ''),
               CASE WHEN i.item_id IS NULL THEN s.step || ' of no suspense item' ELSE 'a suspense item, not posted' END
        FROM ledger.suspense_items i FULL JOIN (
            SELECT transaction_id, step FROM ledger.transaction_steps
            WHERE step IN ('suspend_outgoing', 'suspend_incoming')
        ) s ON s.transaction_id = i.item_id WHERE i.item_id IS NULL OR s.transaction_id IS NULL
    """,
)

# A payment that is open, or was settled here after the banks were asked, may be on one side only, by its whole amount;
# and so what has come into suspense, or out of it, since.
_OURS: Final = """
    SELECT bank, currency, sum(balance) AS balance, sum(least_more) AS least_more, sum(most_more) AS most_more,
           sum(in_flight) AS in_flight
    FROM (
        SELECT split_part(code, ':', 2) AS bank, currency, balance, 0 AS least_more, 0 AS most_more, 0 AS in_flight
        FROM ledger.accounts WHERE kind = 'bank_settlement'
        UNION ALL
        SELECT bank, currency, 0, CASE kind WHEN 'withdrawal' THEN -amount ELSE 0 END,
               CASE kind WHEN 'deposit' THEN amount ELSE 0 END, 1
        FROM ledger.transactions WHERE status IN ('pending', 'processing') AND bank IS NOT NULL
        UNION ALL
        SELECT bank, currency, 0, CASE kind WHEN 'deposit' THEN -amount ELSE 0 END,
               CASE kind WHEN 'withdrawal' THEN amount ELSE 0 END, 1
        FROM ledger.transactions WHERE status = 'succeeded' AND bank IS NOT NULL AND completed_at > :asked_at
        UNION ALL
        SELECT bank, currency, 0, CASE kind WHEN 'withdrawal' THEN -amount ELSE 0 END,
               CASE kind WHEN 'deposit' THEN amount ELSE 0 END, 1
        FROM ledger.transactions WHERE status = 'returned' AND bank IS NOT NULL AND completed_at > :asked_at
        UNION ALL
        SELECT i.bank, i.currency, 0, least(0, CASE WHEN s.step LIKE 'suspend_%' THEN -i.moved ELSE i.moved END),
               greatest(0, CASE WHEN s.step LIKE 'suspend_%' THEN -i.moved ELSE i.moved END), 1
        FROM ledger.suspense_items i JOIN ledger.transaction_steps s ON s.transaction_id = i.item_id
        WHERE s.created_at > :asked_at AND s.step NOT LIKE 'write_off_%'
    ) parts GROUP BY bank, currency
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """What the banks said before the snapshot, and the database's time when they were asked; None: nobody asked."""

    asked_at: datetime | None = None
    balances: Sequence[BankBalance] = ()
    number: int = 8
    name: str = "bank statements"
    sentence: str = "Our settlement accounts equal what the banks' statements say, but for payments in flight."
    rows: Rows = Rows.BANKS

    async def check(self, snapshot: Snapshot) -> Finding:
        """Compare with the one shard that there is."""
        return self.compare(await self.read(snapshot))

    async def read(self, snapshot: Snapshot) -> Sequence[Found]:
        """What a shard's own accounts and payments say, by bank and currency."""
        return () if self.asked_at is None else await snapshot.ask(_OURS, {"asked_at": self.asked_at})

    def compare(self, ours: Sequence[Found]) -> Finding:
        """Compare every bank and currency that either side has; `ours` are the rows of all shards.

        Equality is exact where nothing is in flight.
        """
        if self.asked_at is None:
            return self._finding(0, [], "no bank was asked")
        said = {(balance.bank, balance.currency): balance.minor_units for balance in self.balances}
        places = sorted(said.keys() | {(str(row.bank), str(row.currency)) for row in ours})
        wrong, in_flight = [], 0
        for place in places:
            rows = [row for row in ours if (row.bank, row.currency) == place]
            balance = sum(int(row.balance) for row in rows)
            least, most = sum(int(row.least_more) for row in rows), sum(int(row.most_more) for row in rows)
            in_flight += sum(int(row.in_flight) for row in rows)
            theirs = said.get(place, 0)
            if not balance + least <= theirs <= balance + most:
                told = f"the bank says {theirs}" if place in said else "the bank gave no balance"
                wrong.append(Violation(" ".join(place), f"{told}, our settlement accounts {balance}"))
        note = f"{in_flight} payments in flight may be on one side only" if in_flight else ""
        return self._finding(len(places), wrong, note)

    def _finding(self, checked: int, wrong: list[Violation], note: str) -> Finding:
        return Finding(
            number=self.number,
            name=self.name,
            sentence=self.sentence,
            checked=checked,
            what=self.rows.value,
            broken=len(wrong),
            violations=tuple(wrong[:VIOLATIONS_SHOWN]),
            note=note,
        )
