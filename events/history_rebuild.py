"""Making the history anew while it is being read and written: from the ledger itself, or from its events once more.

Nothing is emptied first. What is missing is added, what is wrong is put right, what should not be there is taken away.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.contracts.payments import Failure
from domain.events import TRANSACTIONS_TOPIC, TransactionEvent
from domain.ids import BankAccountId, ClientId, PrefixedId, TransactionId, WalletId
from domain.transactions import TransactionKind, TransactionStatus
from events.confirmations import Confirmations
from events.history import rows_of, write
from events.history_databases import HistoryDatabase
from events.streams import START, Position, Stream
from infra.database import reading, transaction

PAGE: Final = 1000
ShardOf = Callable[[PrefixedId], int]
_BEFORE_ALL: Final = UUID(int=0)

# Of a returned payment the bank's code stands in the step that took it back, the last one.
_TRANSACTIONS: Final = """
    SELECT t.transaction_id, t.client_id, t.kind, t.status, t.source_wallet_id, t.destination_wallet_id,
           t.bank_account_id, t.amount, t.currency, t.memo, coalesce(t.completed_at, t.created_at) AS occurred_at,
           coalesce(t.failure_code, r.code) AS failure_code
    FROM ledger.transactions t
    LEFT JOIN LATERAL (
        SELECT detail ->> 'code' AS code FROM ledger.transaction_events
        WHERE t.status = 'returned' AND transaction_id = t.transaction_id AND type = 'step.posted'
          AND detail ? 'code'
        ORDER BY created_at DESC LIMIT 1) r ON true
"""
_PAGE: Final = text(f"""
    {_TRANSACTIONS}
    WHERE t.transaction_id > :after AND t.status <> 'pending' ORDER BY t.transaction_id LIMIT :limit
""")
_THESE: Final = text(f"{_TRANSACTIONS} WHERE t.transaction_id = ANY(:ids)")
_COUNT: Final = text("SELECT count(*) FROM ledger.transactions")
_LINES: Final = text("""
    SELECT wallet_id, transaction_id, status FROM history.wallet_transactions
    WHERE (wallet_id, transaction_id) > (:wallet_id, :transaction_id) ORDER BY wallet_id, transaction_id LIMIT :limit
""")
_COUNT_LINES: Final = text("SELECT count(*) FROM history.wallet_transactions")
# A line that has come to another status meanwhile was not what was looked at.
_TAKE_AWAY: Final = text("""
    DELETE FROM history.wallet_transactions w
    USING unnest(CAST(:wallets AS uuid[]), CAST(:ids AS uuid[]), CAST(:statuses AS text[])) AS s(wallet_id, id, status)
    WHERE w.wallet_id = s.wallet_id AND w.transaction_id = s.id AND w.status = s.status
""")
_FROM_THE_BEGINNING: Final = text("""
    UPDATE ledger.consumer_positions SET xid = '0', id = 0, missing_since = now() WHERE consumer = ANY(:consumers)
""")
_ENDS: Final = text("""
    SELECT DISTINCT ON (lane) lane, xid::text AS xid, id FROM ledger.outbox WHERE topic = :topic
    ORDER BY lane, xid DESC, id DESC
""")


@dataclass(frozen=True, slots=True)
class Progress:
    """So much of it is done; `changed` lines were not as they should have been."""

    done: int
    total: int
    changed: int


async def from_ledger(engines: Sequence[AsyncEngine], databases: Sequence[HistoryDatabase]) -> AsyncIterator[Progress]:
    """Write every line that the ledger's transactions mean. `engines` lead to the shards, in their order.

    Raises LedgerUnavailable; begun again, it is soon where it was.
    """
    total = 0
    for engine in engines:
        async with reading(engine) as connection:
            total += (await connection.execute(_COUNT)).scalar_one()
    done = changed = 0
    for engine in engines:
        after = _BEFORE_ALL
        while True:
            async with reading(engine) as connection:
                page = (await connection.execute(_PAGE, {"after": after, "limit": PAGE})).all()
            if not page:
                break
            lines = [line for row in page for line in rows_of(_event_of(row))]
            for database in databases:
                async with transaction(database.engine) as connection:
                    here = [line for line in lines if database.keeps(line.wallet_id)]
                    changed += await write(connection, here, mended=True)
            after, done = page[-1].transaction_id, done + len(page)
            yield Progress(done, total, changed)


async def take_away(
    engines: Sequence[AsyncEngine], databases: Sequence[HistoryDatabase], shard_of: ShardOf
) -> AsyncIterator[Progress]:
    """Remove every line that no transaction means, or that another database has. `shard_of` says on which shard an
    id's bucket is.
    """
    total = 0
    for database in databases:
        async with reading(database.engine) as connection:
            total += (await connection.execute(_COUNT_LINES)).scalar_one()
    done = changed = 0
    for database in databases:
        wallet_id = transaction_id = _BEFORE_ALL
        while True:
            wanted = {"wallet_id": wallet_id, "transaction_id": transaction_id, "limit": PAGE}
            async with reading(database.engine) as connection:
                lines = (await connection.execute(_LINES, wanted)).all()
            if not lines:
                break
            meant = await _meant(engines, shard_of, [TransactionId.of(line.transaction_id) for line in lines])
            wrong = [
                line
                for line in lines
                if (line.wallet_id, line.transaction_id) not in meant or not database.keeps(WalletId.of(line.wallet_id))
            ]
            changed += await _taken_away(database, wrong)
            wallet_id, transaction_id = lines[-1].wallet_id, lines[-1].transaction_id
            done += len(lines)
            yield Progress(done, max(total, done), changed)


async def _taken_away(database: HistoryDatabase, wrong: Sequence[Any]) -> int:
    if not wrong:
        return 0
    taken = {
        "wallets": [line.wallet_id for line in wrong],
        "ids": [line.transaction_id for line in wrong],
        "statuses": [line.status for line in wrong],
    }
    async with transaction(database.engine) as connection:
        return (await connection.execute(_TAKE_AWAY, taken)).rowcount


async def _meant(
    engines: Sequence[AsyncEngine],
    shard_of: ShardOf,
    ids: Sequence[TransactionId],
) -> set[tuple[UUID, UUID]]:
    """(wallet, transaction) of every line that these transactions mean."""
    meant: set[tuple[UUID, UUID]] = set()
    for shard, engine in enumerate(engines):
        here = list({found.uuid for found in ids if shard_of(found) == shard})
        if here:
            async with reading(engine) as connection:
                for row in await connection.execute(_THESE, {"ids": here}):
                    lines = rows_of(_event_of(row))
                    meant |= {(line.wallet_id.uuid, line.item.transaction_id.uuid) for line in lines}
    return meant


async def from_events(home: AsyncEngine, databases: Sequence[HistoryDatabase]) -> None:
    """Have the history read all events once more that the outboxes still have; others ignore what comes again.

    `home` leads to the first shard.
    """
    async with transaction(home) as connection:
        await connection.execute(_FROM_THE_BEGINNING, {"consumers": [database.consumer for database in databases]})


async def behind(engines: Sequence[AsyncEngine], databases: Sequence[HistoryDatabase]) -> int:
    """Streams of which a database does not have everything yet."""
    found = 0
    for shard, engine in enumerate(engines):
        async with reading(engine) as connection:
            rows = await connection.execute(_ENDS, {"topic": TRANSACTIONS_TOPIC})
            ends = {Stream(shard, TRANSACTIONS_TOPIC, row.lane): Position(int(row.xid), row.id) for row in rows}
        for database in databases:
            async with reading(engines[0]) as connection:
                reached = await Confirmations(database.consumer).read(connection, ends)
            found += sum(end > reached.get(stream, START) for stream, end in ends.items())
    return found


def _event_of(row: Any) -> TransactionEvent:  # noqa: ANN401  -- a row of SQLAlchemy's
    return TransactionEvent(
        tx_id=TransactionId.of(row.transaction_id),
        client_id=ClientId.of(row.client_id),
        kind=TransactionKind(row.kind),
        status=TransactionStatus(row.status),
        sender_id=WalletId.of(row.source_wallet_id) if row.source_wallet_id else None,
        receiver_id=WalletId.of(row.destination_wallet_id) if row.destination_wallet_id else None,
        bank_account_id=BankAccountId.of(row.bank_account_id) if row.bank_account_id else None,
        amount=row.amount,
        currency=row.currency,
        memo=row.memo,
        timestamp=row.occurred_at,
        failure=Failure(code=row.failure_code, detail="") if row.failure_code else None,
    )
