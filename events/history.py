"""The history read model: one row per wallet and transaction, filled from events, read by the API, never about money.

The receiver of a transfer sees it once it has succeeded; what failed or is on its way is the sender's own affair.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.events import TRANSACTIONS_TOPIC, Envelope, TransactionEvent
from domain.ids import BankAccountId, TransactionId, WalletId
from domain.transactions import TransactionKind, TransactionStatus
from infra.database import reading

Direction = Literal["in", "out"]

_ORDER: Final = tuple(TransactionStatus)
_RECEIVED: Final = frozenset({TransactionStatus.SUCCEEDED, TransactionStatus.RETURNED})

_WRITE: Final = text("""
    INSERT INTO history.wallet_transactions AS w
        (wallet_id, transaction_id, direction, kind, status, amount, currency, counterparty_id, bank_account_id, memo,
         failure_code, occurred_at)
    SELECT n.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(
        wallet_id uuid, transaction_id uuid, direction text, kind text, status text, amount bigint, currency text,
        counterparty_id uuid, bank_account_id uuid, memo text, failure_code text, occurred_at timestamptz)
    ORDER BY n.wallet_id, n.transaction_id
    ON CONFLICT (wallet_id, transaction_id) DO UPDATE
    SET status = excluded.status, failure_code = excluded.failure_code, occurred_at = excluded.occurred_at
    WHERE array_position(CAST(:order AS text[]), excluded.status) > array_position(CAST(:order AS text[]), w.status)
""")

_LIST: Final = text("""
    SELECT transaction_id, direction, kind, status, amount, currency, counterparty_id, bank_account_id, memo,
           failure_code, occurred_at
    FROM history.wallet_transactions
    WHERE wallet_id = :wallet_id AND transaction_id < :before
    ORDER BY transaction_id DESC
    LIMIT :limit
""")
_NEWEST: Final = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItem:
    """A transaction as one wallet sees it. `amount` is minor units of `currency`; `occurred_at` is when it came to
    its status. The counterparty is a wallet, or None where the other side is a bank."""

    transaction_id: TransactionId
    direction: Direction
    kind: TransactionKind
    status: TransactionStatus
    amount: int
    currency: str
    counterparty_id: WalletId | None
    bank_account_id: BankAccountId | None
    memo: str | None
    failure_code: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """An item and the wallet that sees it."""

    wallet_id: WalletId
    item: HistoryItem


def later(one: TransactionStatus, other: TransactionStatus) -> bool:
    """Whether `one` comes after `other`: a status never goes back, whatever order it is heard in."""
    return _ORDER.index(one) > _ORDER.index(other)


def rows_of(event: TransactionEvent) -> list[HistoryRow]:
    """What an event means for each wallet that may see it."""
    sides: list[tuple[Direction, WalletId | None, WalletId | None]] = [("out", event.sender_id, event.receiver_id)]
    if event.sender_id is None or event.status in _RECEIVED:
        sides.append(("in", event.receiver_id, event.sender_id))
    return [
        HistoryRow(
            wallet_id,
            HistoryItem(
                transaction_id=event.tx_id,
                direction=direction,
                kind=event.kind,
                status=event.status,
                amount=event.amount,
                currency=event.currency,
                counterparty_id=counterparty,
                bank_account_id=event.bank_account_id,
                memo=event.memo,
                failure_code=event.failure.code if event.failure else None,
                occurred_at=event.timestamp,
            ),
        )
        for direction, wallet_id, counterparty in sides
        if wallet_id is not None
    ]


def newest(rows: Iterable[HistoryRow]) -> list[HistoryRow]:
    """One row per wallet and transaction: that of the latest status."""
    found: dict[tuple[WalletId, TransactionId], HistoryRow] = {}
    for row in rows:
        key = (row.wallet_id, row.item.transaction_id)
        if key not in found or later(row.item.status, found[key].item.status):
            found[key] = row
    return list(found.values())


class History:
    """The consumer that writes the read model. Applying an event again, or an older one later, changes nothing."""

    name = "history"
    topics = frozenset({TRANSACTIONS_TOPIC})
    types = frozenset({"transaction.processing", "transaction.completed", "transaction.failed"})

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope]) -> None:
        """Write what these events mean, in the caller's database transaction."""
        events = [envelope.data for envelope in envelopes if isinstance(envelope.data, TransactionEvent)]
        rows = newest(row for event in events for row in rows_of(event))
        if rows:
            document = orjson.dumps([_stored(row) for row in rows]).decode()
            await connection.execute(_WRITE, {"rows": document, "order": [str(status) for status in _ORDER]})


def _stored(row: HistoryRow) -> dict[str, object]:
    item = row.item
    return {
        "wallet_id": row.wallet_id.uuid,
        "transaction_id": item.transaction_id.uuid,
        "direction": item.direction,
        "kind": item.kind,
        "status": item.status,
        "amount": item.amount,
        "currency": item.currency,
        "counterparty_id": item.counterparty_id.uuid if item.counterparty_id else None,
        "bank_account_id": item.bank_account_id.uuid if item.bank_account_id else None,
        "memo": item.memo,
        "failure_code": item.failure_code,
        "occurred_at": item.occurred_at,
    }


async def list_transactions(
    engine: AsyncEngine, wallet_id: WalletId, before: TransactionId | None, limit: int
) -> Sequence[HistoryItem]:
    """A wallet's transactions, newest first, from below `before`; eventually consistent. Raises LedgerUnavailable."""
    parameters = {"wallet_id": wallet_id.uuid, "before": before.uuid if before else _NEWEST, "limit": limit}
    async with reading(engine) as connection:
        rows = await connection.execute(_LIST, parameters)
        return [
            HistoryItem(
                transaction_id=TransactionId.of(row.transaction_id),
                direction=row.direction,
                kind=TransactionKind(row.kind),
                status=TransactionStatus(row.status),
                amount=row.amount,
                currency=row.currency,
                counterparty_id=WalletId.of(row.counterparty_id) if row.counterparty_id else None,
                bank_account_id=BankAccountId.of(row.bank_account_id) if row.bank_account_id else None,
                memo=row.memo,
                failure_code=row.failure_code,
                occurred_at=row.occurred_at,
            )
            for row in rows
        ]
