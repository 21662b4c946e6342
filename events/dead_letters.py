"""Events that a consumer cannot process: put aside with the reason, so that those behind go on, and tried again later.

The database keeps them, in the commit that goes past them; a topic tells of each, for whoever watches topics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.events import DEAD_LETTERS_TOPIC, DeadLetteredEvent, lane_of
from domain.ids import EventId, random_bucket
from events.messages import EventUnreadable, Incoming
from events.streams import Position, Stream
from infra.database import reading

LONGEST_REASON: Final = 1000

_KEEP: Final = text("""
    INSERT INTO ledger.dead_letters (consumer, shard, topic, lane, xid, id, type, message, reason)
    VALUES (:consumer, :shard, :topic, :lane, CAST(CAST(:xid AS text) AS xid8), :id, :type, :message, :reason)
    ON CONFLICT DO NOTHING RETURNING created_at
""")
_TELL: Final = text("""
    INSERT INTO ledger.outbox (lane, event_id, topic, key, type, data)
    VALUES (:lane, :event_id, :topic, :key, :type, CAST(:data AS json))
""")
_COLUMNS: Final = """dead_letter_id, consumer, shard, topic, lane, xid::text AS xid, id, type, message, reason,
    created_at"""
_WAITING: Final = text(f"""
    SELECT {_COLUMNS} FROM ledger.dead_letters
    WHERE replayed_at IS NULL AND (CAST(:consumer AS text) IS NULL OR consumer = :consumer)
    ORDER BY dead_letter_id LIMIT :limit
""")  # noqa: S608  -- put together from constants
_LOCK: Final = text(f"""
    SELECT {_COLUMNS} FROM ledger.dead_letters WHERE dead_letter_id = :number AND replayed_at IS NULL FOR UPDATE
""")  # noqa: S608
_REPLAYED: Final = text("UPDATE ledger.dead_letters SET replayed_at = now() WHERE dead_letter_id = :number")
_STILL: Final = text("UPDATE ledger.dead_letters SET reason = :reason WHERE dead_letter_id = :number")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event that a consumer could not process, as it came."""

    number: int
    consumer: str
    event: Incoming
    reason: str
    created_at: datetime


def is_poison(error: Exception) -> bool:
    """Whether the event itself is the trouble, as far as one can tell: it will be the same at the next try.

    What has a name of ours, and what the database says of anything but values, is an outage or a wrong set-up.
    """
    values = ArithmeticError | LookupError | TypeError | ValueError | AttributeError
    return isinstance(error, EventUnreadable | DataError | IntegrityError | values)


async def put_aside(connection: AsyncConnection, consumer: str, event: Incoming, error: Exception) -> None:
    """Keep an event and the reason, and tell of it, in the caller's commit."""
    reason = reason_of(error)
    row = {
        "consumer": consumer,
        "shard": event.stream.shard,
        "topic": event.stream.topic,
        "lane": event.stream.lane,
        "xid": str(event.position.xid),
        "id": event.position.id,
        "type": event.type,
        "message": event.value,
        "reason": reason,
    }
    kept = (await connection.execute(_KEEP, row)).first()
    if kept is None:
        return
    told = DeadLetteredEvent(
        consumer=consumer,
        shard=event.stream.shard,
        topic=event.stream.topic,
        lane=event.stream.lane,
        position=str(event.position),
        event_type=event.type,
        message=event.value.decode(errors="replace"),
        reason=reason,
        timestamp=kept.created_at,
    )
    out = {
        "lane": lane_of(consumer),
        "event_id": EventId.new(random_bucket()).uuid,
        "topic": DEAD_LETTERS_TOPIC,
        "key": consumer,
        "type": told.type,
        "data": told.model_dump_json(),
    }
    await connection.execute(_TELL, out)


def reason_of(error: Exception) -> str:
    """What is kept of an error."""
    return f"{type(error).__name__}: {error}"[:LONGEST_REASON]


async def waiting(engine: AsyncEngine, *, consumer: str | None, limit: int) -> Sequence[DeadLetter]:
    """What was put aside and not processed since, oldest first. Raises LedgerUnavailable."""
    async with reading(engine) as connection:
        rows = await connection.execute(_WAITING, {"consumer": consumer, "limit": limit})
        return [_letter_of(row) for row in rows]


async def lock(connection: AsyncConnection, number: int) -> DeadLetter | None:
    """One that waits, for as long as the caller's database transaction takes."""
    row = (await connection.execute(_LOCK, {"number": number})).first()
    return _letter_of(row) if row else None


async def replayed(connection: AsyncConnection, number: int) -> None:
    """It has had its effect, if this commits."""
    await connection.execute(_REPLAYED, {"number": number})


async def still(connection: AsyncConnection, number: int, error: Exception) -> None:
    """It still cannot be processed, and why now."""
    await connection.execute(_STILL, {"number": number, "reason": reason_of(error)})


def _letter_of(row: Any) -> DeadLetter:  # noqa: ANN401  -- a row of SQLAlchemy's
    position = Position(int(row.xid), row.id)
    event = Incoming(
        stream=Stream(row.shard, row.topic, row.lane),
        position=position,
        previous=position,
        type=row.type,
        value=bytes(row.message),
    )
    return DeadLetter(
        number=row.dead_letter_id,
        consumer=row.consumer,
        event=event,
        reason=row.reason,
        created_at=row.created_at,
    )
