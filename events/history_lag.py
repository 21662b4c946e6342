"""How far the history is behind what has happened."""

import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import LedgerUnavailable
from domain.events import TRANSACTIONS_TOPIC
from events.confirmations import Confirmations
from events.history import History
from events.history_databases import CONSUMER
from events.streams import streams_of
from infra.database import reading

REMEMBER_SECONDS: Final = 1.0

_OLDEST: Final = text("""
    SELECT coalesce(extract(epoch FROM now() - min(o.created_at)), 0)::float8
    FROM unnest(CAST(:lanes AS smallint[]), CAST(CAST(:xids AS text[]) AS xid8[]), CAST(:ids AS bigint[]))
         AS p(lane, xid, id)
    CROSS JOIN LATERAL (
        SELECT created_at FROM ledger.outbox
        WHERE topic = :topic AND lane = p.lane AND (xid, id) > (p.xid, p.id) ORDER BY xid, id LIMIT 1
    ) AS o
""")


class HistoryLag:
    """Asks at most once a second for each shard and database. `engines` lead to the shards, in their order."""

    def __init__(self, engines: Sequence[AsyncEngine]) -> None:
        self._engines = engines
        self._known: dict[tuple[int, str], tuple[float, float | None]] = {}

    async def seconds(self, shard: int, consumer: str = CONSUMER) -> float | None:
        """The age of the oldest event of a shard that this consumer has not confirmed; None where nobody knows."""
        key = shard, consumer
        asked_at, lag = self._known.get(key, (-REMEMBER_SECONDS, None))
        now = time.monotonic()
        if now - asked_at < REMEMBER_SECONDS:
            return lag
        self._known[key] = (now, lag)  # Whoever comes meanwhile takes what is known.
        try:
            lag = await self._ask(shard, consumer)
        except LedgerUnavailable:
            lag = None
        self._known[key] = (now, lag)
        return lag

    async def _ask(self, shard: int, consumer: str) -> float | None:
        async with reading(self._engines[0]) as connection:
            positions = await Confirmations(consumer).read(connection, streams_of(History.topics, shard))
        if not positions:
            return None
        behind = {
            "topic": TRANSACTIONS_TOPIC,
            "lanes": [stream.lane for stream in positions],
            "xids": [str(position.xid) for position in positions.values()],
            "ids": [position.id for position in positions.values()],
        }
        async with reading(self._engines[shard]) as connection:
            found: float = (await connection.execute(_OLDEST, behind)).scalar_one()
        return max(0.0, found)
