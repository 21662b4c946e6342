"""The history read model: one row per wallet and transaction, filled from events, read by the API, never about money.

The receiver of a transfer sees it once it has succeeded; what failed or is on its way is the sender's own affair.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.events import TRANSACTIONS_TOPIC, Envelope, TransactionEvent
from domain.ids import BankAccountId, TransactionId, WalletId, first_uuid
from domain.transactions import TransactionKind, TransactionStatus
from events.history_databases import CONSUMER, HistoryDatabase
from infra.database import reading, transaction

Direction = Literal["in", "out"]

_ORDER: Final = tuple(TransactionStatus)
_RECEIVED: Final = frozenset({TransactionStatus.SUCCEEDED, TransactionStatus.RETURNED})

_WORD: Final = re.compile(r"\w+")
MOST_WORDS: Final = 20
"""Of a memo, or of a search, that count."""

# With `mended`, what is there is put right where it says the same status, too.
_WRITE: Final = text("""
    INSERT INTO history.wallet_transactions AS w
        (wallet_id, transaction_id, direction, kind, status, amount, currency, counterparty_id, bank_account_id, memo,
         failure_code, occurred_at, memo_terms)
    SELECT n.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(
        wallet_id uuid, transaction_id uuid, direction text, kind text, status text, amount bigint, currency text,
        counterparty_id uuid, bank_account_id uuid, memo text, failure_code text, occurred_at timestamptz,
        memo_terms text[])
    ORDER BY n.wallet_id, n.transaction_id
    ON CONFLICT (wallet_id, transaction_id) DO UPDATE
    SET direction = excluded.direction, kind = excluded.kind, status = excluded.status, amount = excluded.amount,
        currency = excluded.currency, counterparty_id = excluded.counterparty_id,
        bank_account_id = excluded.bank_account_id, memo = excluded.memo, failure_code = excluded.failure_code,
        occurred_at = excluded.occurred_at, memo_terms = excluded.memo_terms
    WHERE array_position(CAST(:order AS text[]), excluded.status) > array_position(CAST(:order AS text[]), w.status)
       OR (:mended AND excluded.status = w.status
           AND (excluded.direction, excluded.kind, excluded.amount, excluded.currency, excluded.counterparty_id,
                excluded.bank_account_id, excluded.memo, excluded.failure_code, excluded.occurred_at,
                excluded.memo_terms)
           IS DISTINCT FROM (w.direction, w.kind, w.amount, w.currency, w.counterparty_id, w.bank_account_id, w.memo,
                             w.failure_code, w.occurred_at, w.memo_terms))
""")

_COLUMNS: Final = """transaction_id, direction, kind, status, amount, currency, counterparty_id, bank_account_id, memo,
    failure_code, occurred_at"""
_CONDITIONS: Final = {
    "direction": "direction = :direction",
    "kind": "kind = :kind",
    "status": "status = :status",
    "counterparty_id": "counterparty_id = :counterparty_id",
    "min_amount": "amount >= :min_amount",
    "max_amount": "amount <= :max_amount",
    "since": "transaction_id >= :since",
    "until": "transaction_id < :until",
    "memo": "memo_terms @> CAST(:memo AS text[])",
}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """Which lines are wanted; None is any. Amounts are minor units, both ends included.

    `since` and `until` are when a transaction was asked for: from one moment on, and before another. All words of
    `memo` have to be in a line's, whole, in any order and case.
    """

    direction: Direction | None = None
    kind: TransactionKind | None = None
    status: TransactionStatus | None = None
    counterparty_id: WalletId | None = None
    min_amount: int | None = None
    max_amount: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    memo: str | None = None


EVERYTHING: Final = HistoryFilter()


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """An item and the wallet that sees it."""

    wallet_id: WalletId
    item: HistoryItem


def later(one: TransactionStatus, other: TransactionStatus) -> bool:
    """Whether `one` comes after `other`: a status never goes back, whatever order it is heard in."""
    return _ORDER.index(one) > _ORDER.index(other)


def words_of(memo: str) -> list[str]:
    """The words of a memo as they are compared: whatever their case, accents as they are."""
    return _WORD.findall(unicodedata.normalize("NFKC", memo).casefold())[:MOST_WORDS]


def memo_terms(wallet_id: WalletId, memo: str | None) -> list[str]:
    """What a line of this wallet is found by."""
    return sorted({f"{wallet_id.hex}:{word}" for word in words_of(memo or "")})


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
    """The consumer that writes the read model. Applying an event again, or an older one later, changes nothing.

    So a `database` of its own is written in a commit of its own, before that of the positions; without one the lines of
    all wallets are written beside the positions, in the same commit.
    """

    topics = frozenset({TRANSACTIONS_TOPIC})
    types = frozenset({"transaction.processing", "transaction.completed", "transaction.failed", "transaction.returned"})

    def __init__(self, database: HistoryDatabase | None = None) -> None:
        self.name = database.consumer if database else CONSUMER
        self._database = None if database is None or database.beside_positions else database

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope]) -> None:
        """Write what these events mean. Raises LedgerUnavailable where the database does not answer."""
        events = [envelope.data for envelope in envelopes if isinstance(envelope.data, TransactionEvent)]
        rows = newest(row for event in events for row in rows_of(event))
        if self._database is None:
            await write(connection, rows)
        elif ours := [row for row in rows if self._database.keeps(row.wallet_id)]:
            async with transaction(self._database.engine) as own:
                await write(own, ours)


async def write(connection: AsyncConnection, rows: Sequence[HistoryRow], *, mended: bool = False) -> int:
    """Write lines where they are new or say a later status; with `mended`, also where they say anything else of the
    same one. How many that were.
    """
    if not rows:
        return 0
    document = orjson.dumps([_stored(row) for row in rows]).decode()
    order = [str(status) for status in _ORDER]
    return (await connection.execute(_WRITE, {"rows": document, "order": order, "mended": mended})).rowcount


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
        "memo_terms": memo_terms(row.wallet_id, item.memo),
    }


async def list_transactions(
    engine: AsyncEngine,
    wallet_id: WalletId,
    before: TransactionId | None,
    limit: int,
    wanted: HistoryFilter = EVERYTHING,
) -> Sequence[HistoryItem]:
    """A wallet's transactions, newest first, from below `before`; eventually consistent. Raises LedgerUnavailable."""
    asked = _asked(wallet_id, wanted)
    conditions = "".join(f" AND {_CONDITIONS[name]}" for name in asked)
    query = text(f"""
        SELECT {_COLUMNS} FROM history.wallet_transactions
        WHERE wallet_id = :wallet_id AND transaction_id < :before{conditions}
        ORDER BY transaction_id DESC LIMIT :limit
    """)  # noqa: S608  -- put together from constants
    parameters = {"wallet_id": wallet_id.uuid, "before": before.uuid if before else _NEWEST, "limit": limit}
    async with reading(engine) as connection:
        rows = await connection.execute(query, parameters | asked)
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


def _asked(wallet_id: WalletId, wanted: HistoryFilter) -> dict[str, object]:
    """What of a filter is asked of the database, by the names of its conditions."""
    values: dict[str, object | None] = {
        "direction": wanted.direction,
        "kind": wanted.kind,
        "status": wanted.status,
        "counterparty_id": wanted.counterparty_id and wanted.counterparty_id.uuid,
        "min_amount": wanted.min_amount,
        "max_amount": wanted.max_amount,
        "since": wanted.since and first_uuid(wanted.since),
        "until": wanted.until and first_uuid(wanted.until),
        "memo": None if wanted.memo is None else memo_terms(wallet_id, wanted.memo),
    }
    return {name: value for name, value in values.items() if value is not None}
