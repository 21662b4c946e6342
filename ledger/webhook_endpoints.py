"""Where apps want to hear of events, in the directory: addresses and secrets, which are encrypted at rest."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.contracts.payments import IdempotencyRecord
from domain.errors import NotFound, TooManyEndpoints
from domain.ids import ClientId, WebhookEndpointId, random_bucket
from domain.webhooks import EndpointStatus, secret_place
from infra.database import reading, transaction
from infra.secrets import Cipher
from infra.signatures import new_secret
from ledger.request_keys import claim

MOST_ENDPOINTS: Final = 20
"""Of one client: every event is sent to each."""
BOTH_SECRETS: Final = timedelta(hours=24)
"""How long the secret before the newest signs, too."""
BY_OWNER: Final = "its owner disabled it"

_COLUMNS: Final = """endpoint_id, client_id, url, description, event_types, status, disabled_reason, secret,
    failures, failing_since, created_at"""
_ADD: Final = text(f"""
    INSERT INTO directory.webhook_endpoints (endpoint_id, client_id, url, description, event_types, secret)
    VALUES (:endpoint_id, :client_id, :url, :description, :event_types, :secret) RETURNING {_COLUMNS}
""")  # noqa: S608  -- put together from constants
# So that two calls at once do not both find room for the last one.
_LOCK_CLIENT: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('webhook_endpoints:' || :client_id, 0))")
_COUNT: Final = text("SELECT count(*) FROM directory.webhook_endpoints WHERE client_id = :client_id")
_OWN: Final = f"SELECT {_COLUMNS} FROM directory.webhook_endpoints WHERE client_id = :client_id"  # noqa: S608
_ALL: Final = text(f"{_OWN} ORDER BY created_at, endpoint_id")
_ONE: Final = text(f"{_OWN} AND endpoint_id = :endpoint_id")
_ONE_LOCKED: Final = text(f"{_OWN} AND endpoint_id = :endpoint_id FOR UPDATE")
_CHANGE: Final = text(f"""
    UPDATE directory.webhook_endpoints
    SET url = :url, description = :description, event_types = :event_types, status = :status,
        disabled_reason = :disabled_reason,
        failures = CASE WHEN :anew THEN 0 ELSE failures END,
        failing_since = CASE WHEN :anew THEN NULL ELSE failing_since END,
        resting_until = CASE WHEN :anew THEN NULL ELSE resting_until END
    WHERE endpoint_id = :endpoint_id RETURNING {_COLUMNS}
""")  # noqa: S608
# What waits for an endpoint that is told nothing is given up; its owner can have it again.
_GIVE_UP: Final = text("""
    UPDATE webhooks.deliveries SET status = 'failed', ended_at = now()
    WHERE endpoint_id = :endpoint_id AND status IN ('pending', 'retrying')
""")
_ROTATE: Final = text(f"""
    UPDATE directory.webhook_endpoints
    SET previous_secret = :previous, previous_until = now() + make_interval(secs => :seconds), secret = :secret
    WHERE endpoint_id = :endpoint_id RETURNING {_COLUMNS}
""")  # noqa: S608
_REMOVE: Final = text("""
    DELETE FROM directory.webhook_endpoints WHERE endpoint_id = :endpoint_id AND client_id = :client_id
    RETURNING endpoint_id
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """An endpoint as it is now. No types are all types; `failures` are attempts in a row, up to the last."""

    endpoint_id: WebhookEndpointId
    client_id: ClientId
    url: str
    description: str
    event_types: tuple[str, ...]
    status: EndpointStatus
    disabled_reason: str | None
    secret: str = field(repr=False)
    failures: int
    failing_since: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointWish:
    """What an owner says of an endpoint; when it is changed, None leaves a thing as it is."""

    url: str | None = None
    description: str | None = None
    event_types: tuple[str, ...] | None = None
    status: EndpointStatus | None = None


class WebhookEndpoints:
    """The endpoints of all clients. Every method raises LedgerUnavailable when the database does not answer."""

    def __init__(self, engine: AsyncEngine, cipher: Cipher) -> None:
        self._engine = engine
        self._cipher = cipher

    async def add(
        self, client_id: ClientId, url: str, wish: EndpointWish, key: IdempotencyRecord
    ) -> tuple[WebhookEndpoint, bool]:
        """A new endpoint with a secret of its own, once per key; True says that it was there.

        Raises IdempotencyKeyReused, NotFound where it has been removed since, and TooManyEndpoints.
        """
        endpoint_id = WebhookEndpointId.new(random_bucket())
        async with transaction(self._engine) as connection:
            recorded = await claim(connection, key, endpoint_id.uuid)
            if recorded is not None:
                return await self._one(connection, _ONE, client_id, WebhookEndpointId.of(recorded)), True
            await connection.execute(_LOCK_CLIENT, {"client_id": client_id})
            if (await connection.execute(_COUNT, {"client_id": client_id.uuid})).scalar_one() >= MOST_ENDPOINTS:
                raise TooManyEndpoints
            row = {
                "endpoint_id": endpoint_id.uuid,
                "client_id": client_id.uuid,
                "url": url,
                "description": wish.description or "",
                "event_types": list(wish.event_types or ()),
                "secret": self._sealed(new_secret(), "secret", endpoint_id),
            }
            return self._endpoint_of((await connection.execute(_ADD, row)).one()), False

    async def all(self, client_id: ClientId) -> Sequence[WebhookEndpoint]:
        """A client's endpoints, oldest first."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(_ALL, {"client_id": client_id.uuid})
            return [self._endpoint_of(row) for row in rows]

    async def one(self, client_id: ClientId, endpoint_id: WebhookEndpointId) -> WebhookEndpoint:
        """One of a client's endpoints. Raises NotFound."""
        async with reading(self._engine) as connection:
            return await self._one(connection, _ONE, client_id, endpoint_id)

    async def change(self, client_id: ClientId, endpoint_id: WebhookEndpointId, wish: EndpointWish) -> WebhookEndpoint:
        """The endpoint as it is from now on. Enabled, or with another address, it begins without failures.

        Disabled, what waits for it is given up. Raises NotFound.
        """
        async with transaction(self._engine) as connection:
            now = await self._one(connection, _ONE_LOCKED, client_id, endpoint_id)
            status = wish.status or now.status
            row = {
                "endpoint_id": endpoint_id.uuid,
                "url": wish.url or now.url,
                "description": now.description if wish.description is None else wish.description,
                "event_types": list(now.event_types if wish.event_types is None else wish.event_types),
                "status": status,
                "disabled_reason": (now.disabled_reason or BY_OWNER) if status is EndpointStatus.DISABLED else None,
                "anew": status is not now.status or wish.url not in {None, now.url},
            }
            changed = self._endpoint_of((await connection.execute(_CHANGE, row)).one())
            if status is EndpointStatus.DISABLED:
                await connection.execute(_GIVE_UP, {"endpoint_id": endpoint_id.uuid})
            return changed

    async def rotate(
        self, client_id: ClientId, endpoint_id: WebhookEndpointId, key: IdempotencyRecord
    ) -> tuple[WebhookEndpoint, bool]:
        """The endpoint with a new secret; the one before signs, too, for 24 hours. Once per key; True says it was.

        Raises NotFound and IdempotencyKeyReused.
        """
        async with transaction(self._engine) as connection:
            now = await self._one(connection, _ONE_LOCKED, client_id, endpoint_id)
            if await claim(connection, key, endpoint_id.uuid) is not None:
                return now, True
            row = {
                "endpoint_id": endpoint_id.uuid,
                "previous": self._sealed(now.secret, "previous_secret", endpoint_id),
                "seconds": BOTH_SECRETS.total_seconds(),
                "secret": self._sealed(new_secret(), "secret", endpoint_id),
            }
            return self._endpoint_of((await connection.execute(_ROTATE, row)).one()), False

    async def remove(self, client_id: ClientId, endpoint_id: WebhookEndpointId) -> None:
        """Forget it and what was sent to it. Raises NotFound."""
        wanted = {"client_id": client_id.uuid, "endpoint_id": endpoint_id.uuid}
        async with transaction(self._engine) as connection:
            if (await connection.execute(_REMOVE, wanted)).first() is None:
                raise NotFound

    async def _one(
        self,
        connection: AsyncConnection,
        query: TextClause,
        client_id: ClientId,
        endpoint_id: WebhookEndpointId,
    ) -> WebhookEndpoint:
        row = (await connection.execute(query, {"client_id": client_id.uuid, "endpoint_id": endpoint_id.uuid})).first()
        if row is None:
            raise NotFound
        return self._endpoint_of(row)

    def _sealed(self, secret: str, column: str, endpoint_id: WebhookEndpointId) -> str:
        return self._cipher.encrypt(secret, secret_place(column, endpoint_id))

    def _endpoint_of(self, row: Any) -> WebhookEndpoint:  # noqa: ANN401  -- a row of SQLAlchemy's
        endpoint_id = WebhookEndpointId.of(row.endpoint_id)
        return WebhookEndpoint(
            endpoint_id=endpoint_id,
            client_id=ClientId.of(row.client_id),
            url=row.url,
            description=row.description,
            event_types=tuple(row.event_types),
            status=EndpointStatus(row.status),
            disabled_reason=row.disabled_reason,
            secret=self._cipher.decrypt(row.secret, secret_place("secret", endpoint_id)),
            failures=row.failures,
            failing_since=row.failing_since,
            created_at=row.created_at,
        )
