"""Rate limits per client and per wallet, counted in Redis for all processes; without Redis, each process counts alone.

A window begins at a multiple of its length, so that every process names it alike, knows its end, and one round trip
counts a request. The headers are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage

from api.metrics import RATE_LIMITED
from domain.errors import RateLimited
from domain.ids import ClientId, WalletId
from infra.redis import Cache
from infra.settings import Settings

RATE_LIMIT: Final = b"ratelimit"
POLICY: Final = b"ratelimit-policy"


@dataclass(frozen=True, slots=True)
class Standing:
    """What one limit says of this request. `resets` is in seconds from now."""

    name: str
    limit: int
    window_seconds: int
    remaining: int
    resets: int

    @property
    def exceeded(self) -> bool:
        """Whether the request is one too many."""
        return self.remaining < 0


standings: ContextVar[list[Standing] | None] = ContextVar("standings", default=None)
"""What was asked for the request in hand, for the middleware that writes the headers."""


class RateLimits:
    """Counts requests."""

    def __init__(self, settings: Settings, cache: Cache) -> None:
        self._client = _rate(settings.rate_limit_client)
        self._wallet = _rate(settings.rate_limit_wallet)
        self._cache = cache
        self._alone = MemoryStorage()

    async def count_client(self, client_id: ClientId) -> None:
        """One more request of a client. Raises RateLimited."""
        await self._count("client", self._client, client_id)

    async def count_wallet(self, wallet_id: WalletId) -> None:
        """One more payment or hold that a client asks of a wallet. Raises RateLimited."""
        await self._count("wallet", self._wallet, wallet_id)

    async def _count(self, name: str, rate: RateLimitItem | None, who: str) -> None:
        if rate is None:
            return
        window, now = rate.get_expiry(), time.time()
        number = int(now // window)
        used = await self._incremented(f"{name}:{who}:{window}:{number}", window)
        standing = Standing(
            name=name,
            limit=rate.amount,
            window_seconds=window,
            remaining=rate.amount - used,
            resets=math.ceil((number + 1) * window - now),
        )
        if (asked := standings.get()) is not None:
            asked.append(standing)
        if standing.exceeded:
            RATE_LIMITED.labels(name).inc()
            raise RateLimited(
                f"More than {rate.amount} requests of this {name} in {window} s. Come back in {standing.resets} s.",
                retry_after_seconds=standing.resets,
            )

    async def _incremented(self, key: str, window: int) -> int:
        counted = await self._cache.count(f"rate:{key}", ttl_seconds=window)
        return await self._alone.incr(key, window) if counted is None else counted

    async def aclose(self) -> None:
        """End the process's own count."""
        if self._alone.timer is not None:
            self._alone.timer.cancel()


def headers_of(asked: Sequence[Standing]) -> list[tuple[bytes, bytes]]:
    """What the answer says of the limits that were asked."""
    if not asked:
        return []
    policies = ", ".join(f'"{each.name}";q={each.limit};w={each.window_seconds}' for each in asked)
    left = ", ".join(f'"{each.name}";r={max(0, each.remaining)};t={each.resets}' for each in asked)
    return [(POLICY, policies.encode()), (RATE_LIMIT, left.encode())]


def _rate(text: str | None) -> RateLimitItem | None:
    return parse(text) if text else None
