"""Where breakers' states are kept: in Redis for all processes, in the process itself while Redis is gone."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bank_adapters.breaker import BreakerState, Phase
from infra.redis import PAUSE_SECONDS

REMEMBERED_SECONDS: Final = 3600
"""An open breaker that nobody asks for this long is closed."""

Answer = TypeVar("Answer")
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Own:
    """One breaker that is not closed, in monotonic seconds."""

    half_open_at: float
    places_until: float = 0.0
    taken: int = 0
    successes: int = 0


class OwnStates:
    """The states as one process has them."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._banks: dict[str, _Own] = {}

    async def read(self, bank: str) -> BreakerState:
        """See the port."""
        own = self._banks.get(bank)
        if own is None:
            return BreakerState()
        seconds = own.half_open_at - self._now()
        return BreakerState(Phase.OPEN, seconds) if seconds > 0 else BreakerState(Phase.HALF_OPEN)

    async def open(self, bank: str, seconds: float) -> None:
        """See the port."""
        self._banks[bank] = _Own(self._now() + seconds)

    async def take_place(self, bank: str, places: int, seconds: float) -> bool:
        """See the port."""
        own = self._banks.setdefault(bank, _Own(self._now()))
        if self._now() >= own.places_until:
            own.places_until, own.taken = self._now() + seconds, 0
        own.taken += 1
        return own.taken <= places

    async def note_success(self, bank: str, wanted: int) -> bool:
        """See the port."""
        own = self._banks.get(bank)
        if own is None:
            return True
        own.successes += 1
        if own.successes >= wanted:
            del self._banks[bank]
        return own.successes >= wanted

    def adopt(self, bank: str, state: BreakerState) -> None:
        """Be where the others say it is."""
        if state.phase is Phase.CLOSED:
            self._banks.pop(bank, None)
        elif bank not in self._banks or state.phase is Phase.OPEN:
            self._banks[bank] = _Own(self._now() + state.seconds)


class SharedStates:
    """The states in Redis. While Redis is gone this process goes on by itself from what was known last.

    Keys expire by themselves, so that hosts' clocks do not matter: `open` while nothing may be sent, `tripped` until
    the breaker closes, `places` and `successes` of the calls that were let through meanwhile.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._own = OwnStates()
        self._left_alone_until = 0.0

    async def read(self, bank: str) -> BreakerState:
        """See the port."""
        told = await self._told(lambda: self._read(bank))
        if told is None:
            return await self._own.read(bank)
        self._own.adopt(bank, told)
        return told

    async def open(self, bank: str, seconds: float) -> None:
        """See the port."""
        await self._own.open(bank, seconds)
        await self._told(lambda: self._open(bank, seconds))

    async def take_place(self, bank: str, places: int, seconds: float) -> bool:
        """See the port."""
        taken = await self._told(lambda: self._count(_key(bank, "places"), seconds))
        return await self._own.take_place(bank, places, seconds) if taken is None else taken <= places

    async def note_success(self, bank: str, wanted: int) -> bool:
        """See the port."""
        successes = await self._told(lambda: self._count(_key(bank, "successes"), REMEMBERED_SECONDS))
        if successes is None:
            return await self._own.note_success(bank, wanted)
        if successes < wanted:
            return False
        self._own.adopt(bank, BreakerState())
        await self._told(lambda: self._redis.delete(*(_key(bank, part) for part in _PARTS)))
        return True

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()

    async def _read(self, bank: str) -> BreakerState:
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.pttl(_key(bank, "open"))
            pipeline.exists(_key(bank, "tripped"))
            open_ms, tripped = await pipeline.execute()
        if open_ms > 0:
            return BreakerState(Phase.OPEN, open_ms / 1000)
        return BreakerState(Phase.HALF_OPEN) if tripped else BreakerState()

    async def _open(self, bank: str, seconds: float) -> bool:
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(_key(bank, "places"), _key(bank, "successes"))
            pipeline.set(_key(bank, "open"), 1, px=int(seconds * 1000))
            pipeline.set(_key(bank, "tripped"), 1, ex=REMEMBERED_SECONDS)
            await pipeline.execute()
        return True

    async def _count(self, key: str, seconds: float) -> int:
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(key, 0, px=int(seconds * 1000), nx=True)
            pipeline.incr(key)
            _, counted = await pipeline.execute()
        return int(counted)

    async def _told(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """Redis's answer, or None without one; after a problem it is left alone for a moment."""
        if time.monotonic() < self._left_alone_until:
            return None
        try:
            return await ask()
        except (RedisError, OSError, TimeoutError) as error:
            self._left_alone_until = time.monotonic() + PAUSE_SECONDS
            _log.warning("redis.unreachable", operation="breaker", error=str(error))
            return None


_PARTS: Final = ("open", "tripped", "places", "successes")


def _key(bank: str, part: str) -> str:
    return f"breaker:{bank}:{part}"
