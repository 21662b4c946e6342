"""Shards: which ledger database a bucket lives on, and one engine for each."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import LedgerUnavailable, SettingsInvalid
from domain.ids import BUCKETS, PrefixedId, part_of
from infra.database import ask_first, make_engine, reading
from infra.settings import Settings

PING_SECONDS: Final = 1.0

T = TypeVar("T")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shard:
    """One ledger database, and the range of buckets that live there."""

    number: int
    engine: AsyncEngine
    buckets: range


def shard_of(bucket: int, shards: int) -> int:
    """The number of a bucket's shard: equal, contiguous ranges of the 4,096 buckets."""
    return part_of(bucket, shards)


def buckets_of(shard: int, shards: int) -> range:
    """The buckets of a shard."""
    return range(-(-shard * BUCKETS // shards), -(-(shard + 1) * BUCKETS // shards))


class Shards:
    """The map from bucket to shard, in the order of the settings.

    A database that was made as another shard answers nothing: using it raises SettingsInvalid.
    """

    def __init__(self, settings: Settings) -> None:
        count = len(settings.shard_urls)
        self.all = [
            Shard(number, make_engine(url, settings), buckets_of(number, count))
            for number, url in enumerate(settings.shard_urls)
        ]
        for shard in self.all:
            _demand_place(shard, count)

    def of(self, owned: PrefixedId) -> Shard:
        """The shard that an id lives on."""
        return self.all[self.number_of(owned)]

    def number_of(self, owned: PrefixedId) -> int:
        """The number of the shard that an id lives on."""
        return shard_of(owned.bucket, len(self.all))

    async def gathered(self, ask: Callable[[Shard], AsyncIterator[T]]) -> AsyncIterator[T]:
        """What each shard has to say, one after the other. One that does not answer is left out, unless none does.

        Raises LedgerUnavailable.
        """
        silent: list[LedgerUnavailable] = []
        for shard in self.all:
            try:
                async for found in ask(shard):
                    yield found
            except LedgerUnavailable as outage:
                _log.warning("shard left out", shard=shard.number, reason=outage.detail)
                silent.append(outage)
        if len(silent) == len(self.all):
            raise silent[0]

    async def silent(self) -> list[int]:
        """Which shards do not answer within a second."""

        async def answers(shard: Shard) -> bool:
            try:
                async with asyncio.timeout(PING_SECONDS), reading(shard.engine) as connection:
                    await connection.execute(text("SELECT 1"))
            except (LedgerUnavailable, TimeoutError):
                return False
            return True

        answered = await asyncio.gather(*map(answers, self.all))
        return [shard.number for shard, there in zip(self.all, answered, strict=True) if not there]

    async def aclose(self) -> None:
        """Close all connections."""
        for shard in self.all:
            await shard.engine.dispose()


def _demand_place(shard: Shard, count: int) -> None:
    def check(made_as: tuple[Any, ...] | None) -> None:
        if made_as != (shard.number, count):
            place = "is no shard yet" if made_as is None else "is shard {} of {}".format(*made_as)
            raise SettingsInvalid(
                f"SAGAPAY_SHARD_URLS: the database {shard.engine.url.database} {place}, and the settings say that it "
                f"is shard {shard.number} of {count}. `sagapay prepare` says what to do."
            )

    ask_first(shard.engine, "SELECT number, count FROM ledger.shard", check)
