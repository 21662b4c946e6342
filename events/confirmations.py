"""The consumers' side of the positions: in the same database and commit as the effects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from events.messages import Incoming
from events.streams import Position, Stream

_STREAMS: Final = """
    unnest(CAST(:shards AS smallint[]), CAST(:topics AS text[]), CAST(:lanes AS smallint[]))
"""

_REGISTER: Final = text(f"""
    INSERT INTO ledger.consumer_positions (consumer, shard, topic, lane, xid, id)
    SELECT :consumer, shard, topic, lane, CAST('0' AS xid8), 0 FROM {_STREAMS} AS s(shard, topic, lane)
    ON CONFLICT DO NOTHING
""")  # noqa: S608  -- put together from constants

_LOCK: Final = text(f"""
    SELECT c.shard, c.topic, c.lane, c.xid, c.id
    FROM ledger.consumer_positions c JOIN {_STREAMS} AS s(shard, topic, lane) USING (shard, topic, lane)
    WHERE c.consumer = :consumer
    ORDER BY c.shard, c.topic, c.lane
    FOR UPDATE OF c
""")  # noqa: S608

_CONFIRM: Final = text("""
    UPDATE ledger.consumer_positions c SET xid = s.xid, id = s.id, missing_since = NULL, updated_at = now()
    FROM unnest(CAST(:shards AS smallint[]), CAST(:topics AS text[]), CAST(:lanes AS smallint[]),
                CAST(CAST(:xids AS text[]) AS xid8[]), CAST(:ids AS bigint[])) AS s(shard, topic, lane, xid, id)
    WHERE c.consumer = :consumer AND c.shard = s.shard AND c.topic = s.topic AND c.lane = s.lane
""")

_READ: Final = text(f"""
    SELECT c.shard, c.topic, c.lane, c.xid, c.id
    FROM ledger.consumer_positions c JOIN {_STREAMS} AS s(shard, topic, lane) USING (shard, topic, lane)
    WHERE c.consumer = :consumer
""")  # noqa: S608

_ASK_AGAIN: Final = text(f"""
    UPDATE ledger.consumer_positions c SET missing_since = now() FROM {_STREAMS} AS s(shard, topic, lane)
    WHERE c.consumer = :consumer AND c.shard = s.shard AND c.topic = s.topic AND c.lane = s.lane
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class News:
    """What of the events that arrived is new and without a gap, and where that leads.

    `again` counts those that had come before, `early` those that came without the one before them.
    """

    fresh: list[Incoming]
    position: Position
    again: int
    early: int


def new_events(arrived: Iterable[Incoming], position: Position) -> News:
    """Sort out the events of one stream, in the order of arrival, for a consumer that is at `position`."""
    fresh: list[Incoming] = []
    again = early = 0
    for event in arrived:
        if event.position <= position:
            again += 1
        elif event.previous > position:
            early += 1
        else:
            fresh.append(event)
            position = event.position
    return News(fresh, position, again, early)


def _columns(streams: Iterable[Stream]) -> dict[str, Sequence[object]]:
    found = sorted(streams)
    return {
        "shards": [stream.shard for stream in found],
        "topics": [stream.topic for stream in found],
        "lanes": [stream.lane for stream in found],
    }


class Confirmations:
    """The positions of one consumer. Two processes of it never apply the same event: they wait for each other here."""

    def __init__(self, consumer: str) -> None:
        self._consumer = consumer

    async def register(self, connection: AsyncConnection, streams: Iterable[Stream]) -> None:
        """Be known to the relay, from the beginning of each stream that is new to us."""
        await connection.execute(_REGISTER, {"consumer": self._consumer, **_columns(streams)})

    async def lock(self, connection: AsyncConnection, streams: Iterable[Stream]) -> dict[Stream, Position]:
        """Where we are, and nobody else moves until the end of the database transaction."""
        return await self._positions(connection, _LOCK, streams)

    async def read(self, connection: AsyncConnection, streams: Iterable[Stream]) -> dict[Stream, Position]:
        """Where we are now."""
        return await self._positions(connection, _READ, streams)

    async def _positions(
        self, connection: AsyncConnection, query: TextClause, streams: Iterable[Stream]
    ) -> dict[Stream, Position]:
        rows = await connection.execute(query, {"consumer": self._consumer, **_columns(streams)})
        return {Stream(row.shard, row.topic, row.lane): Position(int(row.xid), row.id) for row in rows}

    async def confirm(self, connection: AsyncConnection, positions: Mapping[Stream, Position]) -> None:
        """Everything up to these positions has had its effect, if this database transaction commits."""
        moved = sorted(positions.items())
        await connection.execute(
            _CONFIRM,
            {
                "consumer": self._consumer,
                **_columns(positions),
                "xids": [str(position.xid) for _, position in moved],
                "ids": [position.id for _, position in moved],
            },
        )

    async def ask_again(self, connection: AsyncConnection, streams: Iterable[Stream]) -> None:
        """Tell the relay that what follows our positions did not come."""
        await connection.execute(_ASK_AGAIN, {"consumer": self._consumer, **_columns(streams)})
