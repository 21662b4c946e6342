"""Shards: which ledger database a bucket lives on, and one engine for each."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import SettingsInvalid
from domain.ids import BUCKETS, PrefixedId
from infra.database import ask_first, make_engine
from infra.settings import Settings


@dataclass(frozen=True, slots=True)
class Shard:
    """One ledger database, and the range of buckets that live there."""

    number: int
    engine: AsyncEngine
    buckets: range


def shard_of(bucket: int, shards: int) -> int:
    """The number of a bucket's shard: equal, contiguous ranges of the 4,096 buckets."""
    return bucket * shards // BUCKETS


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
