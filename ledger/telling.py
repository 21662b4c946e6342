"""Events told outside a posting's group: in the caller's commit, as the group's own are."""

from typing import Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import EventModel, lane_of
from domain.ids import PrefixedId, new_uuid

_TELL: Final = text("""
    INSERT INTO ledger.outbox (lane, event_id, topic, key, type, trace, data)
    VALUES (:lane, :event_id, :topic, :key, :type, :trace, CAST(:data AS json))
""")


async def tell(
    connection: AsyncConnection, topic: str, key: PrefixedId, event: EventModel, trace: str | None = None
) -> None:
    """Put an event into the outbox of the shard that `connection` leads to; `key` is whose it is."""
    data = event.model_dump(mode="json")
    row = {
        "lane": lane_of(key),
        "event_id": new_uuid(key.bucket),
        "topic": topic,
        "key": key,
        "type": data["type"],
        "trace": trace,
        "data": orjson.dumps(data).decode(),
    }
    await connection.execute(_TELL, row)
