"""The relay's side of the database: which lanes are ours, what waits there, how far everybody is.

What it saves goes over the connection that holds the lanes' locks: a relay that lost its lanes can save nothing. How
far consumers are is beside their effects, on the first shard.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import LANES
from events.messages import OutboxRow
from events.streams import Position, Stream

LOCK_SPACE: Final = 7_242_003
"""The first half of the advisory locks' keys; the second half is the lane."""

# The order and the bound are one thing: below the oldest open transaction nothing can appear any more.
READ: Final = text("""
    SELECT s.topic, s.lane, o.xid, o.id, o.event_id, o.key, o.type, o.data, o.created_at, o.trace
    FROM unnest(CAST(:topics AS text[]), CAST(:lanes AS smallint[]), CAST(CAST(:xids AS text[]) AS xid8[]),
                CAST(:ids AS bigint[]), CAST(:limits AS bigint[])) AS s(topic, lane, xid, id, room)
    CROSS JOIN LATERAL (
        SELECT xid, id, event_id, key, type, data::text AS data, created_at, trace
        FROM ledger.outbox
        WHERE topic = s.topic AND lane = s.lane AND (xid, id) > (s.xid, s.id)
          AND xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY xid, id
        LIMIT s.room
    ) AS o
""")

_LOCK: Final = text("""
    SELECT lane FROM unnest(CAST(:lanes AS integer[])) AS lane
    WHERE pg_try_advisory_lock(CAST(:space AS integer), lane)
""")

_SAVED: Final = text("SELECT topic, lane, broker, xid, id FROM ledger.relay_positions WHERE lane = ANY(:lanes)")

_SAVE: Final = text("""
    INSERT INTO ledger.relay_positions (topic, lane, broker, xid, id)
    SELECT topic, lane, :broker, xid, id
    FROM unnest(CAST(:topics AS text[]), CAST(:lanes AS smallint[]), CAST(CAST(:xids AS text[]) AS xid8[]),
                CAST(:ids AS bigint[])) AS s(topic, lane, xid, id)
    ON CONFLICT (topic, lane) DO UPDATE
    SET broker = excluded.broker, xid = excluded.xid, id = excluded.id, updated_at = now()
""")

_CONFIRMED: Final = text("""
    SELECT topic, lane, xid, id, missing_since IS NOT NULL AS missing
    FROM ledger.consumer_positions WHERE shard = :shard AND lane = ANY(:lanes)
""")

_ANSWERED: Final = text("""
    UPDATE ledger.consumer_positions SET missing_since = NULL
    WHERE shard = :shard AND topic = :topic AND lane = :lane AND missing_since IS NOT NULL
""")


@dataclass(frozen=True, slots=True)
class Published:
    """How far a stream was published, and to which broker."""

    position: Position
    broker_id: str


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How far one consumer has a stream's effects; `missing` if what follows did not reach it."""

    position: Position
    missing: bool


async def published(connection: AsyncConnection, shard: int, lanes: Iterable[int]) -> dict[Stream, Published]:
    """How far the relays of a shard have come, over a connection to it."""
    rows = await connection.execute(_SAVED, {"lanes": sorted(lanes)})
    return {Stream(shard, row.topic, row.lane): Published(Position(int(row.xid), row.id), row.broker) for row in rows}


class Outbox:
    """One shard's outbox, over connections in autocommit that are never handed to anybody else.

    `home` leads to the first shard, `connection` to the outbox's own; on the first shard they are the same.
    """

    def __init__(self, connection: AsyncConnection, shard: int, home: AsyncConnection) -> None:
        self._connection = connection
        self._shard = shard
        self._home = home

    async def prepare(self) -> None:
        """Settings of this session: one plan for all polls, and no waiting for the disk.

        A position lost in a crash of the database costs a few duplicates, and those are nothing new.
        """
        await self._connection.execute(text("SET plan_cache_mode = force_generic_plan"))
        await self._connection.execute(text("SET synchronous_commit = off"))

    async def lock_lanes(self, held: frozenset[int]) -> frozenset[int]:
        """Take what lanes nobody has, beside those `held`. They are ours until the connection ends."""
        wanted = sorted(set(range(LANES)) - held)
        taken = await self._connection.scalars(_LOCK, {"space": LOCK_SPACE, "lanes": wanted})
        return held | frozenset(taken)

    async def read(self, wanted: Mapping[Stream, tuple[Position, int]]) -> Sequence[OutboxRow]:
        """For each stream at most so many rows after a position, each stream's in order, in one round trip."""
        asked = [(stream, after, limit) for stream, (after, limit) in wanted.items() if limit > 0]
        if not asked:
            return ()
        rows = await self._connection.execute(
            READ,
            {
                "topics": [stream.topic for stream, _, _ in asked],
                "lanes": [stream.lane for stream, _, _ in asked],
                "xids": [str(after.xid) for _, after, _ in asked],
                "ids": [after.id for _, after, _ in asked],
                "limits": [limit for _, _, limit in asked],
            },
        )
        return [
            OutboxRow(
                stream=Stream(self._shard, row.topic, row.lane),
                position=Position(int(row.xid), row.id),
                event_id=row.event_id,
                key=row.key,
                type=row.type,
                data=row.data,
                created_at=row.created_at,
                trace=row.trace,
            )
            for row in rows
        ]

    async def published(self, lanes: frozenset[int]) -> dict[Stream, Published]:
        """What was saved by whoever had these lanes last."""
        return await published(self._connection, self._shard, lanes)

    async def save(self, broker_id: str, positions: Mapping[Stream, Position]) -> None:
        """Record how far streams are published."""
        await self._connection.execute(
            _SAVE,
            {
                "broker": broker_id,
                "topics": [stream.topic for stream in positions],
                "lanes": [stream.lane for stream in positions],
                "xids": [str(position.xid) for position in positions.values()],
                "ids": [position.id for position in positions.values()],
            },
        )

    async def confirmations(self, lanes: frozenset[int]) -> dict[Stream, list[Confirmation]]:
        """Where the registered consumers of each stream are."""
        found: dict[Stream, list[Confirmation]] = {}
        for row in await self._home.execute(_CONFIRMED, {"shard": self._shard, "lanes": list(lanes)}):
            stream = Stream(self._shard, row.topic, row.lane)
            found.setdefault(stream, []).append(Confirmation(Position(int(row.xid), row.id), row.missing))
        return found

    async def answered(self, stream: Stream) -> None:
        """What consumers of this stream missed is being published again."""
        await self._home.execute(_ANSWERED, {"shard": stream.shard, "topic": stream.topic, "lane": stream.lane})
