"""Deliveries in the database: which are due, what became of each attempt, when to try again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.ids import ClientId, EventId, WebhookEndpointId, random_bucket
from domain.webhooks import DISABLED_NOTICE, DeliveryStatus, secret_place
from infra.database import reading, transaction
from infra.secrets import Cipher

LEASE_SECONDS: Final = 60
"""For so long nobody else tries what one process has taken; it is longer than an attempt can be."""
AT_ONCE: Final = 8
"""Attempts at one endpoint at the same time."""
FAILURES_BEFORE_REST: Final = 3
LONGEST_REST_SECONDS: Final = 3600.0

_TAKEN: Final = """
    UPDATE webhooks.deliveries d SET due_at = now() + make_interval(secs => :lease)
    FROM due, webhooks.messages m, directory.webhook_endpoints e
    WHERE d.endpoint_id = due.endpoint_id AND d.event_id = due.event_id AND m.event_id = d.event_id
      AND e.endpoint_id = d.endpoint_id
    RETURNING d.endpoint_id, d.event_id, m.body, e.url, e.secret,
              CASE WHEN e.previous_until > now() THEN e.previous_secret END AS previous_secret
"""
# A few of each endpoint, however many of them there are: one that has much to hear keeps nobody waiting. Who waits is
# found by going from one endpoint to the next in the index, not by reading all that waits.
_TAKE_NEW: Final = text(f"""
    WITH RECURSIVE waiting AS (
        (SELECT endpoint_id FROM webhooks.deliveries WHERE status = 'pending' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT endpoint_id FROM webhooks.deliveries
                WHERE status = 'pending' AND endpoint_id > waiting.endpoint_id ORDER BY endpoint_id LIMIT 1)
        FROM waiting WHERE waiting.endpoint_id IS NOT NULL
    ), due AS (
        SELECT d.endpoint_id, d.event_id
        FROM waiting
        JOIN directory.webhook_endpoints e USING (endpoint_id)
        CROSS JOIN LATERAL (
            SELECT endpoint_id, event_id FROM webhooks.deliveries
            WHERE endpoint_id = waiting.endpoint_id AND status = 'pending' AND due_at <= now()
            ORDER BY id LIMIT {AT_ONCE} FOR UPDATE SKIP LOCKED) d
        WHERE e.status = 'active' AND (e.resting_until IS NULL OR e.resting_until <= now())
          AND NOT (e.endpoint_id = ANY(:busy))
    ){_TAKEN}
""")  # noqa: S608  -- put together from constants
_TAKE_AGAIN: Final = text(f"""
    WITH due AS (
        SELECT endpoint_id, event_id FROM webhooks.deliveries
        WHERE endpoint_id = :endpoint_id AND status = 'retrying' AND due_at <= now()
        ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ){_TAKEN}
""")  # noqa: S608
_PUT_BY: Final = text("""
    UPDATE webhooks.deliveries d SET status = 'retrying', due_at = e.resting_until
    FROM directory.webhook_endpoints e
    WHERE d.status = 'pending' AND d.due_at <= now() AND e.endpoint_id = d.endpoint_id AND e.resting_until > now()
    RETURNING d.endpoint_id
""")
_LEFT: Final = text("""
    SELECT DISTINCT d.endpoint_id FROM webhooks.deliveries d JOIN directory.webhook_endpoints e USING (endpoint_id)
    WHERE d.status = 'retrying' AND d.due_at < now() - make_interval(secs => :seconds) AND e.status = 'active'
      AND (e.resting_until IS NULL OR e.resting_until < now() - make_interval(secs => :seconds))
""")
_STANDING: Final = text("""
    SELECT e.status, e.failures,
           greatest(0, extract(epoch FROM e.resting_until - now()))::float8 AS rests,
           (SELECT count(*) FROM webhooks.deliveries d
            WHERE d.endpoint_id = e.endpoint_id AND d.status = 'retrying') AS waiting,
           (SELECT extract(epoch FROM min(d.due_at) - now())::float8 FROM webhooks.deliveries d
            WHERE d.endpoint_id = e.endpoint_id AND d.status = 'retrying') AS next_in
    FROM directory.webhook_endpoints e WHERE e.endpoint_id = :endpoint_id
""")
_ATTEMPTED: Final = text("""
    INSERT INTO webhooks.attempts (endpoint_id, event_id, number, milliseconds, response_status, error)
    SELECT :endpoint_id, :event_id, coalesce(max(number), 0) + 1, :milliseconds, :response_status, :error
    FROM webhooks.attempts WHERE endpoint_id = :endpoint_id AND event_id = :event_id
""")
_LOCK: Final = text("""
    SELECT status, attempts FROM webhooks.deliveries
    WHERE endpoint_id = :endpoint_id AND event_id = :event_id FOR UPDATE
""")
_SET: Final = text("""
    UPDATE webhooks.deliveries
    SET status = :status, attempts = attempts + 1, due_at = now() + make_interval(secs => :wait),
        ended_at = CASE WHEN :ended THEN now() END
    WHERE endpoint_id = :endpoint_id AND event_id = :event_id
""")
# What has waited because the endpoint failed follows at once; an event that itself is the trouble keeps its own pace.
_WELL: Final = text(f"""
    WITH recovered AS (
        UPDATE directory.webhook_endpoints SET failures = 0, failing_since = NULL, resting_until = NULL
        WHERE endpoint_id = :endpoint_id AND failures > 0 RETURNING endpoint_id
    )
    UPDATE webhooks.deliveries d SET due_at = now() FROM recovered
    WHERE d.endpoint_id = recovered.endpoint_id AND d.status = 'retrying' AND d.due_at > now()
      AND d.attempts < {FAILURES_BEFORE_REST}
""")  # noqa: S608
_UNWELL: Final = text("""
    UPDATE directory.webhook_endpoints
    SET failures = failures + 1, failing_since = coalesce(failing_since, now())
    WHERE endpoint_id = :endpoint_id
    RETURNING client_id, url, status, failures, failing_since < now() - make_interval(secs => :disable_after) AS dead
""")
_REST: Final = text("""
    UPDATE directory.webhook_endpoints SET resting_until = now() + make_interval(secs => :seconds)
    WHERE endpoint_id = :endpoint_id
""")
_DISABLE: Final = text("""
    WITH gone AS (
        UPDATE directory.webhook_endpoints SET status = 'disabled', disabled_reason = :reason
        WHERE endpoint_id = :endpoint_id
    )
    UPDATE webhooks.deliveries SET status = 'failed', ended_at = now()
    WHERE endpoint_id = :endpoint_id AND status IN ('pending', 'retrying')
""")
_TELL: Final = text("""
    WITH message AS (
        INSERT INTO webhooks.messages (event_id, client_id, type, body)
        VALUES (:event_id, :client_id, :type, :body) RETURNING event_id
    )
    INSERT INTO webhooks.deliveries (endpoint_id, event_id)
    SELECT e.endpoint_id, message.event_id FROM message, directory.webhook_endpoints e
    WHERE e.client_id = :client_id AND e.status = 'active'
      AND (CAST(:only AS uuid) IS NULL OR e.endpoint_id = CAST(:only AS uuid))
      AND (CAST(:only AS uuid) IS NOT NULL OR cardinality(e.event_types) = 0 OR :type = ANY(e.event_types))
""")
_FORGET: Final = text("""
    DELETE FROM webhooks.messages WHERE event_id IN (
        SELECT event_id FROM webhooks.messages WHERE created_at < now() - make_interval(days => :days)
        ORDER BY created_at LIMIT :limit)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery to be tried now, by whoever was given it."""

    endpoint_id: WebhookEndpointId
    event_id: EventId
    url: str
    body: bytes
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of trying: an HTTP status or the reason why there is none."""

    milliseconds: int
    response_status: int | None = None
    error: str | None = None
    retry_after_seconds: int | None = None

    @property
    def good(self) -> bool:
        """Whether the app has said that it has it."""
        return self.response_status is not None and 200 <= self.response_status < 300

    @property
    def gone(self) -> bool:
        """Whether the app has said that it wants no more: 410, as Standard Webhooks has it."""
        return self.response_status == 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an endpoint's workflow has to know: whether to go on, and when."""

    active: bool
    failures: int
    waiting: int
    next_in_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait after each failed attempt, and after how long an endpoint that fails is given up."""

    retry_seconds: tuple[float, ...]
    disable_after_seconds: float

    def wait(self, attempts: int) -> float | None:
        """Seconds until the next attempt after so many failed ones; None: none follows."""
        return self.retry_seconds[attempts - 1] if attempts <= len(self.retry_seconds) else None

    def rest(self, failures: int) -> float | None:
        """How long an endpoint is left alone after so many failures in a row."""
        if failures < FAILURES_BEFORE_REST:
            return None
        step = min(failures - FAILURES_BEFORE_REST, len(self.retry_seconds) - 1)
        return min(self.retry_seconds[step], LONGEST_REST_SECONDS)


class WebhookDeliveries:
    """Deliveries and the health of endpoints. Every method raises LedgerUnavailable."""

    def __init__(self, engine: AsyncEngine, cipher: Cipher, patience: Patience) -> None:
        self._engine = engine
        self._cipher = cipher
        self._patience = patience

    async def take_new(self, busy: Collection[WebhookEndpointId]) -> Sequence[Due]:
        """First attempts: a few of each endpoint that is not among the `busy` ones."""
        return await self._take(_TAKE_NEW, {"busy": [endpoint_id.uuid for endpoint_id in busy]})

    async def take_again(self, endpoint_id: WebhookEndpointId, limit: int) -> Sequence[Due]:
        """Further attempts at one endpoint that are due, the longest due first."""
        return await self._take(_TAKE_AGAIN, {"endpoint_id": endpoint_id.uuid, "limit": limit})

    async def put_by(self) -> Sequence[WebhookEndpointId]:
        """Leave what is new for endpoints that rest to their workflows. Returns those endpoints."""
        async with transaction(self._engine) as connection:
            return _endpoints(await connection.execute(_PUT_BY))

    async def left(self, seconds: float) -> Sequence[WebhookEndpointId]:
        """Endpoints for which something has been due for so long that their workflow cannot be running."""
        async with reading(self._engine) as connection:
            return _endpoints(await connection.execute(_LEFT, {"seconds": seconds}))

    async def standing(self, endpoint_id: WebhookEndpointId) -> Standing:
        """How an endpoint stands; one that is not there is not active."""
        async with reading(self._engine) as connection:
            row = (await connection.execute(_STANDING, {"endpoint_id": endpoint_id.uuid})).first()
        if row is None:
            return Standing(active=False, failures=0, waiting=0, next_in_seconds=None)
        next_in = None if row.next_in is None else max(row.next_in, row.rests or 0.0, 0.0)
        return Standing(
            active=row.status == "active", failures=row.failures, waiting=row.waiting, next_in_seconds=next_in
        )

    async def record(self, due: Due, attempt: Attempt) -> DeliveryStatus | None:
        """What the delivery is now; None where the endpoint was removed meanwhile."""
        key = {"endpoint_id": due.endpoint_id.uuid, "event_id": due.event_id.uuid}
        async with transaction(self._engine) as connection:
            row = (await connection.execute(_LOCK, key)).first()
            if row is None:
                return None
            said = {"response_status": attempt.response_status, "error": attempt.error}
            await connection.execute(_ATTEMPTED, key | said | {"milliseconds": attempt.milliseconds})
            before = DeliveryStatus(row.status)
            if before is DeliveryStatus.DELIVERED or (before is DeliveryStatus.FAILED and not attempt.good):
                return before
            status, wait = self._next(row.attempts + 1, attempt)
            ended = status in {DeliveryStatus.DELIVERED, DeliveryStatus.FAILED}
            await connection.execute(_SET, key | {"status": status, "wait": wait, "ended": ended})
            await self._note_health(connection, due.endpoint_id, attempt)
            return DeliveryStatus.FAILED if attempt.gone else status

    def _next(self, attempts: int, attempt: Attempt) -> tuple[DeliveryStatus, float]:
        if attempt.good:
            return DeliveryStatus.DELIVERED, 0
        wait = self._patience.wait(attempts)
        if wait is None:
            return DeliveryStatus.FAILED, 0
        asked = min(attempt.retry_after_seconds or 0, LONGEST_REST_SECONDS)
        return DeliveryStatus.RETRYING, max(wait, asked)

    async def _note_health(self, connection: AsyncConnection, endpoint_id: WebhookEndpointId, attempt: Attempt) -> None:
        key = {"endpoint_id": endpoint_id.uuid}
        if attempt.good:
            await connection.execute(_WELL, key)
            return
        unwell = key | {"disable_after": self._patience.disable_after_seconds}
        found = (await connection.execute(_UNWELL, unwell)).first()
        if found is None or found.status != "active":
            return
        if attempt.gone or found.dead:
            reason = "it answered 410 Gone" if attempt.gone else "it has failed for too long"
            await connection.execute(_DISABLE, key | {"reason": reason})
            data = {"endpoint_id": endpoint_id, "url": found.url, "reason": reason}
            await _tell(connection, ClientId.of(found.client_id), DISABLED_NOTICE, data)
        elif (seconds := self._patience.rest(found.failures)) is not None:
            await connection.execute(_REST, key | {"seconds": seconds})

    async def forget(self, days: int, limit: int) -> int:
        """Drop some of what is older than so many days, with its deliveries; how many messages that were."""
        async with transaction(self._engine) as connection:
            return (await connection.execute(_FORGET, {"days": days, "limit": limit})).rowcount

    async def _take(self, query: Any, parameters: dict[str, object]) -> Sequence[Due]:  # noqa: ANN401
        async with transaction(self._engine) as connection:
            rows = await connection.execute(query, parameters | {"lease": LEASE_SECONDS})
            return [self._due_of(row) for row in rows]

    def _due_of(self, row: Any) -> Due:  # noqa: ANN401  -- a row of SQLAlchemy's
        endpoint_id = WebhookEndpointId.of(row.endpoint_id)
        sealed = {"secret": row.secret, "previous_secret": row.previous_secret}
        return Due(
            endpoint_id=endpoint_id,
            event_id=EventId.of(row.event_id),
            url=row.url,
            body=row.body.encode(),
            secrets=tuple(
                self._cipher.decrypt(value, secret_place(column, endpoint_id))
                for column, value in sealed.items()
                if value is not None
            ),
        )


async def tell_one(
    connection: AsyncConnection, client_id: ClientId, endpoint_id: WebhookEndpointId, kind: str
) -> EventId:
    """Send an event of ours, without any data but its address, to one endpoint, in the caller's commit."""
    return await _tell(connection, client_id, kind, {"endpoint_id": endpoint_id}, only=endpoint_id.uuid)


async def _tell(
    connection: AsyncConnection, client_id: ClientId, kind: str, data: dict[str, object], only: UUID | None = None
) -> EventId:
    event_id = EventId.new(random_bucket())
    told = {
        "id": event_id,
        "type": kind,
        "version": 1,
        "trace": None,
        "data": data,
        "timestamp": datetime.now(UTC).isoformat(),
    }
    row = {
        "event_id": event_id.uuid,
        "client_id": client_id.uuid,
        "type": kind,
        "body": orjson.dumps(told).decode(),
        "only": only,
    }
    await connection.execute(_TELL, row)
    return event_id


def _endpoints(rows: Any) -> Sequence[WebhookEndpointId]:  # noqa: ANN401  -- a result of SQLAlchemy's
    return sorted({WebhookEndpointId.of(row.endpoint_id) for row in rows})
