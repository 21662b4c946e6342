"""What apps can see of their events and deliveries, and having them sent again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.ids import ClientId, EventId, WebhookEndpointId
from domain.webhooks import PING, DeliveryStatus
from events.streams import START, Position
from events.webhook_deliveries import tell_one
from infra.database import reading, transaction

MOST_SENT_AGAIN: Final = 1000
"""Events that one call has sent again."""

# Below the oldest open transaction nothing can appear any more: a page neither skips nor repeats.
_AFTER: Final = """m.client_id = :client_id AND (m.xid, m.id) > (CAST(CAST(:xid AS text) AS xid8), :id)
      AND m.xid < pg_snapshot_xmin(pg_current_snapshot())"""
_MESSAGES: Final = text(f"""
    SELECT m.xid::text AS xid, m.id, m.body FROM webhooks.messages m
    WHERE {_AFTER} AND (CAST(:type AS text) IS NULL OR m.type = :type)
    ORDER BY m.xid, m.id LIMIT :limit
""")  # noqa: S608  -- put together from constants
_DELIVERIES: Final = text("""
    SELECT d.id, d.event_id, m.type, d.status, d.attempts, d.due_at, d.ended_at, m.created_at
    FROM webhooks.deliveries d JOIN webhooks.messages m USING (event_id)
    WHERE d.endpoint_id = :endpoint_id AND d.id < :before AND (CAST(:status AS text) IS NULL OR d.status = :status)
    ORDER BY d.id DESC LIMIT :limit
""")
_DELIVERY: Final = text("""
    SELECT d.id, d.event_id, m.type, d.status, d.attempts, d.due_at, d.ended_at, m.created_at
    FROM webhooks.deliveries d JOIN webhooks.messages m USING (event_id)
    WHERE d.endpoint_id = :endpoint_id AND d.event_id = :event_id
""")
_ATTEMPTS: Final = text("""
    SELECT number, at, milliseconds, response_status, error FROM webhooks.attempts
    WHERE endpoint_id = :endpoint_id AND event_id = :event_id ORDER BY number
""")
_AGAIN: Final = text(f"""
    WITH wanted AS (
        SELECT m.event_id, m.xid, m.id
        FROM webhooks.messages m JOIN directory.webhook_endpoints e ON e.endpoint_id = :endpoint_id
        LEFT JOIN webhooks.deliveries d ON d.endpoint_id = e.endpoint_id AND d.event_id = m.event_id
        WHERE {_AFTER} AND (CAST(:since AS timestamptz) IS NULL OR m.created_at >= :since)
          AND (cardinality(e.event_types) = 0 OR m.type = ANY(e.event_types))
          AND (NOT :missed OR d.status IS NULL OR d.status <> 'delivered')
        ORDER BY m.xid, m.id LIMIT :limit
    ), sent AS (
        INSERT INTO webhooks.deliveries (endpoint_id, event_id) SELECT :endpoint_id, event_id FROM wanted
        ON CONFLICT (endpoint_id, event_id) DO UPDATE
        SET status = 'pending', attempts = 0, due_at = now(), ended_at = NULL
    )
    SELECT xid::text AS xid, id FROM wanted ORDER BY xid, id
""")  # noqa: S608
_REST_NO_MORE: Final = text("""
    UPDATE directory.webhook_endpoints SET resting_until = NULL WHERE endpoint_id = :endpoint_id
""")
LAST: Final = 2**63 - 1
"""Above every delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event as it was, or would have been, sent: JSON, and its place in the order of the client's events."""

    position: Position
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event's way to one endpoint. `due_at` is when it is tried next, where it is."""

    number: int
    event_id: EventId
    type: str
    status: DeliveryStatus
    attempts: int
    due_at: datetime
    ended_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAttempt:
    """One try: when, how long it took, and what the endpoint answered or why it did not."""

    number: int
    at: datetime
    milliseconds: int
    response_status: int | None
    error: str | None


class WebhookRecords:
    """Messages and deliveries of all clients, on the first shard. Every method raises LedgerUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def messages(
        self, client_id: ClientId, *, after: Position | None, limit: int, kind: str | None = None
    ) -> Sequence[Message]:
        """A client's events behind a position, oldest first."""
        wanted = _behind(after) | {"client_id": client_id.uuid, "type": kind, "limit": limit}
        async with reading(self._engine) as connection:
            rows = await connection.execute(_MESSAGES, wanted)
            return [Message(position=Position(int(row.xid), row.id), body=row.body) for row in rows]

    async def deliveries(
        self, endpoint_id: WebhookEndpointId, *, before: int, limit: int, status: DeliveryStatus | None = None
    ) -> Sequence[Delivery]:
        """An endpoint's deliveries below a number, newest first."""
        wanted = {"endpoint_id": endpoint_id.uuid, "before": before, "limit": limit, "status": status}
        async with reading(self._engine) as connection:
            return [_delivery_of(row) for row in await connection.execute(_DELIVERIES, wanted)]

    async def delivery(
        self, endpoint_id: WebhookEndpointId, event_id: EventId
    ) -> tuple[Delivery, Sequence[PastAttempt]] | None:
        """One delivery and every attempt at it."""
        key = {"endpoint_id": endpoint_id.uuid, "event_id": event_id.uuid}
        async with reading(self._engine) as connection:
            row = (await connection.execute(_DELIVERY, key)).first()
            attempts = await connection.execute(_ATTEMPTS, key)
        if row is None:
            return None
        return _delivery_of(row), [PastAttempt(**attempt) for attempt in attempts.mappings()]

    async def send_again(
        self,
        client_id: ClientId,
        endpoint_id: WebhookEndpointId,
        *,
        after: Position | None,
        since: datetime | None,
        missed: bool,
    ) -> Sequence[Position]:
        """Have the next events behind a position sent again, those of the endpoint's types; where each stands.

        With `missed`, those alone that it has not got. An endpoint that rests is tried at once.
        """
        wanted = _behind(after) | {
            "client_id": client_id.uuid,
            "endpoint_id": endpoint_id.uuid,
            "since": since,
            "missed": missed,
            "limit": MOST_SENT_AGAIN,
        }
        async with transaction(self._engine) as connection:
            rows = (await connection.execute(_AGAIN, wanted)).all()
            await connection.execute(_REST_NO_MORE, {"endpoint_id": endpoint_id.uuid})
        return [Position(int(row.xid), row.id) for row in rows]

    async def ping(self, client_id: ClientId, endpoint_id: WebhookEndpointId) -> EventId:
        """Have something sent to an active endpoint that means nothing."""
        async with transaction(self._engine) as connection:
            return await tell_one(connection, client_id, endpoint_id, PING)


def _behind(after: Position | None) -> dict[str, object]:
    position = after or START
    return {"xid": str(position.xid), "id": position.id}


def _delivery_of(row: Any) -> Delivery:  # noqa: ANN401  -- a row of SQLAlchemy's
    return Delivery(
        number=row.id,
        event_id=EventId.of(row.event_id),
        type=row.type,
        status=DeliveryStatus(row.status),
        attempts=row.attempts,
        due_at=row.due_at,
        ended_at=row.ended_at,
        created_at=row.created_at,
    )
