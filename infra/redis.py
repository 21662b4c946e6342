"""Redis: a cache that may be gone at any time. No answer depends on it; without it things are slower, never wrong."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count, islice
from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.lock import Lock
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import LockError, RedisError

from domain.ids import AccountId
from infra.settings import Settings
from infra.together import Together

TIMEOUT_SECONDS: Final = 0.1
PAUSE_SECONDS: Final = 1.0
MAX_CONNECTIONS: Final = 64
ASK_AGAIN_SECONDS: Final = 0.1
"""How often whoever waits for a turn asks for it."""

BALANCE_SECONDS: Final = 5.0
"""How old a balance in the cache may become, if nobody drops it before."""

# The version of a cached value is in its own field. What has been read from the ledger is older than what is there, or
# as old, or newer; only the last is written, and the age of what is there counts from when it was. `floor` is a version
# that somebody has heard of before it was read.
_SET_NEWER: Final = """
local heard = redis.call('HGET', KEYS[1], 'floor')
if heard and tonumber(heard) > tonumber(ARGV[1]) then return 0 end
local known = redis.call('HGET', KEYS[1], 'version')
if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'value', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
_OUTDATE: Final = """
local known = redis.call('HGET', KEYS[1], 'version')
if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
local heard = redis.call('HGET', KEYS[1], 'floor')
if heard and tonumber(heard) >= tonumber(ARGV[1]) then return 0 end
redis.call('HDEL', KEYS[1], 'version', 'value')
redis.call('HSET', KEYS[1], 'floor', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return known and 1 or 0
"""


def balance_name(account_id: AccountId) -> str:
    """Where the cache may have an account's balance, with the account's version."""
    return f"balance:{account_id}"


def make_redis(settings: Settings) -> Redis:
    """A client with short time-outs; connects when first used. One retry covers a connection the server has closed."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=MAX_CONNECTIONS,
        timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )
    return Redis.from_pool(pool)


class Cache:
    """Reads that miss and writes that are lost when Redis has a problem; `on_error` hears of each.

    After a problem Redis is left alone for a second, so that an outage costs one time-out and not one a request.
    Requests that read, write or count at the same moment share a round trip.
    """

    def __init__(self, redis: Redis, on_error: Callable[[str, Exception], None]) -> None:
        self._redis = redis
        self._on_error = on_error
        self._paused_until = 0.0
        self._set_newer = redis.register_script(_SET_NEWER)
        self._outdate = redis.register_script(_OUTDATE)
        self._reads = Together(self._read)
        self._writes = Together(self._write)
        self._counts = Together(self._count)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of `keys` in one round trip; None for each that is not there."""
        return _nothing(keys) if self._paused() else await self._reads.ask(keys)

    async def set_many(self, values: Mapping[str, bytes], ttl_seconds: int) -> None:
        """Remember `values` in one round trip."""
        if not self._paused():
            await self._writes.ask((values, ttl_seconds))

    async def _read(self, asked: list[Sequence[str]]) -> list[list[bytes | None]]:
        if self._paused():
            return [_nothing(keys) for keys in asked]
        try:
            values = iter(await self._redis.mget([key for keys in asked for key in keys]))
        except (RedisError, OSError, TimeoutError) as error:
            self._note("get", error)
            return [_nothing(keys) for keys in asked]
        return [[value if isinstance(value, bytes) else None for value in islice(values, len(keys))] for keys in asked]

    async def _write(self, told: list[tuple[Mapping[str, bytes], int]]) -> list[None]:
        if not self._paused():
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for values, ttl_seconds in told:
                        for key, value in values.items():
                            pipeline.set(key, value, ex=ttl_seconds)
                    await pipeline.execute()
            except (RedisError, OSError, TimeoutError) as error:
                self._note("set", error)
        return [None] * len(told)

    async def count(self, key: str, *, ttl_seconds: int) -> int | None:
        """One more of `key`, which is forgotten that long after it was counted last; how many there are, if Redis can
        tell."""
        return None if self._paused() else await self._counts.ask((key, ttl_seconds))

    async def _count(self, asked: list[tuple[str, int]]) -> list[int | None]:
        if self._paused():
            return [None] * len(asked)
        together = Counter(asked)
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for (key, ttl_seconds), times in together.items():
                    pipeline.incrby(key, times)
                    pipeline.expire(key, ttl_seconds)
                answers = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._note("count", error)
            return [None] * len(asked)
        first = {one: last - together[one] + 1 for one, last in zip(together, answers[::2], strict=True)}
        numbers = {one: count(number) for one, number in first.items()}
        return [next(numbers[one]) for one in asked]

    async def get_versioned(self, key: str) -> bytes | None:
        """What `set_newer` remembered."""
        if self._paused():
            return None
        try:
            value = await self._redis.hget(key, "value")
        except (RedisError, OSError, TimeoutError) as error:
            self._note("get", error)
            return None
        return value if isinstance(value, bytes) else None

    async def set_newer(self, key: str, value: bytes, *, version: int, ttl_seconds: float) -> None:
        """Remember `value`, unless that version or a newer one is there or has been heard of."""
        if self._paused():
            return
        try:
            await self._set_newer(keys=[key], args=[version, value, int(ttl_seconds * 1000)])
        except (RedisError, OSError, TimeoutError) as error:
            self._note("set", error)

    async def outdate_many(self, versions: Mapping[str, int], *, ttl_seconds: float) -> int:
        """Drop what is older than these versions, in one round trip, and refuse it for `ttl_seconds`; how many were.

        A reader that has read the older value may be about to write it.
        """
        if self._paused():
            return 0
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, version in versions.items():
                    await self._outdate(keys=[key], args=[version, int(ttl_seconds * 1000)], client=pipeline)
                return sum(await pipeline.execute())
        except (RedisError, OSError, TimeoutError) as error:
            self._note("outdate", error)
            return 0

    @asynccontextmanager
    async def turn(self, name: str, *, hold_seconds: float, wait_seconds: float) -> AsyncIterator[bool]:
        """One at a time under a name, for at most `hold_seconds`. False: others had it for `wait_seconds`.

        True as well where Redis cannot tell: it keeps crowds away and protects nothing.
        """
        lock = self._redis.lock(name, timeout=hold_seconds, sleep=ASK_AGAIN_SECONDS, blocking_timeout=wait_seconds)
        mine = await self._acquired(lock)
        try:
            yield mine is not False
        finally:
            if mine:
                await self._release(lock)

    async def _acquired(self, lock: Lock) -> bool | None:
        if self._paused():
            return None
        try:
            return bool(await lock.acquire())
        except (RedisError, OSError, TimeoutError) as error:
            self._note("lock", error)
            return None

    async def _release(self, lock: Lock) -> None:
        try:
            await lock.release()
        except LockError:
            return  # It took too long and is another's now, or Redis has forgotten it.
        except (RedisError, OSError, TimeoutError) as error:
            self._note("unlock", error)

    async def forget(self, key: str) -> None:
        """Drop one key."""
        if self._paused():
            return
        try:
            await self._redis.delete(key)
        except (RedisError, OSError, TimeoutError) as error:
            self._note("delete", error)

    async def ping(self) -> None:
        """Ask Redis whether it is there. Raises redis.exceptions.RedisError."""
        await self._redis.ping()

    async def aclose(self) -> None:
        """Let go of all connections."""
        await self._reads.aclose()
        await self._writes.aclose()
        await self._counts.aclose()
        await self._redis.aclose()

    def _paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _note(self, operation: str, error: Exception) -> None:
        if not _is_crowded(error):
            self._paused_until = time.monotonic() + PAUSE_SECONDS
        self._on_error(operation, error)


def _nothing(keys: Sequence[str]) -> list[bytes | None]:
    return [None] * len(keys)


def _is_crowded(error: Exception) -> bool:
    """Whether all connections are in use, which says nothing of Redis."""
    return type(error) is NoConnection and isinstance(error.__cause__, TimeoutError)
