"""The bank's books, read from its file, and ours, read from the ledger's tables: two opinions to be compared."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import text

from bank_adapters.port import PaymentState
from domain.ids import TransactionId
from infra.database import reading
from tests.workflow.scene import Scene

PAID: Final = (PaymentState.ACCEPTED, PaymentState.SETTLED, PaymentState.RETURNED)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BankPayment:
    """A payment as the bank has it. `moved` is what the statement's lines of its reference add up to."""

    reference: str
    amount: int
    state: PaymentState
    settled_at: datetime | None
    moved: int


@dataclass(frozen=True, slots=True)
class BankReturn:
    """A return as the bank has it. `moved` is signed: what it added to our settlement account."""

    return_id: str
    reference: str
    moved: int


@dataclass(frozen=True, slots=True)
class BankBooks:
    """Everything at the bank that concerns us."""

    payments: Mapping[TransactionId, tuple[BankPayment, ...]]
    returns: tuple[BankReturn, ...]
    uncorrected: Mapping[str, int]
    """Payments that were made twice and not corrected yet: what that has moved so far, by reference."""
    statement: int

    def paid(self, payment: TransactionId) -> BankPayment | None:
        """The one that moves or has moved money. Raises ValueError where there are two."""
        paid = [found for found in self.payments.get(payment, ()) if found.state in PAID]
        if len(paid) > 1:
            raise ValueError(f"{payment} is paid twice: {paid}")
        return paid[0] if paid else None


@dataclass(frozen=True, slots=True)
class OurPayment:
    """A payment as the ledger has it. `accepted`: it is credited, or captured."""

    transaction_id: TransactionId
    kind: str
    amount: int
    status: str
    failure: str | None
    reason: str | None
    """Of its attention, where it has any."""
    accepted: bool


@dataclass(frozen=True, slots=True)
class OurWallet:
    """A wallet as the ledger has it."""

    posted: int
    held: int
    owed: int


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        yield connection


_PAYMENTS: Final = """
    SELECT reference, amount, state, settled_at FROM payments WHERE duplicate_of IS NULL AND reference LIKE 'txn_%'
"""
_MOVED: Final = """
    SELECT p.reference, sum(e.amount)
      FROM entries e JOIN accounts a USING (account_id) JOIN payments p USING (payment_id)
     WHERE a.kind = 'settlement' GROUP BY p.reference
"""
_RETURNS: Final = """
    SELECT return_id, reference, iif(direction = 'pull', -amount, amount) AS moved FROM returns ORDER BY rowid
"""
_DUPLICATES: Final = """
    SELECT reference, state, iif(direction = 'pull', amount, -amount) AS amount FROM payments
     WHERE duplicate_of IS NOT NULL AND corrected_at IS NULL
"""
_STATEMENT: Final = """
    SELECT coalesce(sum(amount), 0) FROM entries JOIN accounts USING (account_id) WHERE accounts.kind = 'settlement'
"""


async def bank_books(scene: Scene) -> BankBooks:
    """What falls due by the bank's clock has happened in them."""
    await scene.admin.clock()
    payments: dict[TransactionId, list[BankPayment]] = defaultdict(list)
    with _opened(scene.process.state_dir / "data" / "bank.sqlite3") as file:
        moved = dict(map(tuple, file.execute(_MOVED)))
        for row in file.execute(_PAYMENTS):
            found = BankPayment(
                row["reference"],
                row["amount"],
                PaymentState(row["state"]),
                None if row["settled_at"] is None else _EPOCH + timedelta(microseconds=row["settled_at"]),
                moved.get(row["reference"], 0),
            )
            payments[TransactionId.parse(found.reference.partition(":")[0])].append(found)
        returns = tuple(BankReturn(**dict(row)) for row in file.execute(_RETURNS))
        twice = file.execute(_DUPLICATES).fetchall()
        (statement,) = file.execute(_STATEMENT).fetchone()
    return BankBooks(
        payments={payment: tuple(found) for payment, found in payments.items()},
        returns=returns,
        uncorrected={row["reference"]: row["amount"] if row["state"] == PaymentState.SETTLED else 0 for row in twice},
        statement=int(statement),
    )


_OURS: Final = text("""
    SELECT t.transaction_id, t.kind, t.amount, t.status, t.failure_code, t.attention ->> 'reason' AS reason,
           EXISTS (SELECT FROM ledger.transaction_steps s WHERE s.transaction_id = t.transaction_id
                   AND s.step IN ('credit_deposit', 'capture_withdrawal') AND s.outcome = 'posted') AS accepted
      FROM ledger.transactions t
""")
_WALLETS: Final = text("SELECT account_id, balance, held, owed FROM ledger.accounts WHERE kind = 'wallet'")
_CLEARING: Final = text("SELECT code, balance FROM ledger.accounts WHERE kind = 'clearing' AND balance <> 0")


async def our_payments(scene: Scene) -> dict[TransactionId, OurPayment]:
    """Every payment in the ledger."""
    async with reading(scene.ledger.shards.all[0].engine) as connection:
        rows = (await connection.execute(_OURS)).all()
    found = [
        OurPayment(
            TransactionId.from_hex(row.transaction_id.hex),
            row.kind,
            row.amount,
            row.status,
            row.failure_code,
            row.reason,
            row.accepted,
        )
        for row in rows
    ]
    return {payment.transaction_id: payment for payment in found}


async def our_wallets(scene: Scene) -> dict[str, OurWallet]:
    """Every wallet, by the hex digits of its id."""
    async with reading(scene.ledger.shards.all[0].engine) as connection:
        rows = (await connection.execute(_WALLETS)).all()
    return {row.account_id.hex: OurWallet(row.balance, row.held, row.owed) for row in rows}


async def our_clearing(scene: Scene) -> dict[str, int]:
    """The clearing accounts that are not zero."""
    async with reading(scene.ledger.shards.all[0].engine) as connection:
        rows = (await connection.execute(_CLEARING)).all()
    return {row.code: row.balance for row in rows}
