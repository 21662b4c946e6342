"""Shards: which ledger database a bucket lives on, and one engine for each."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.ids import BUCKETS, PrefixedId
from infra.database import make_engine
from infra.settings import Settings


@dataclass(frozen=True, slots=True)
class Shard:
    """One ledger database."""

    number: int
    engine: AsyncEngine


class Shards:
    """The map from bucket to shard: equal, contiguous ranges of the 4,096 buckets, in the order of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.all = [Shard(number, make_engine(url, settings)) for number, url in enumerate(settings.shard_urls)]

    def of(self, owned: PrefixedId) -> Shard:
        """The shard that an id lives on."""
        return self.all[owned.bucket * len(self.all) // BUCKETS]

    async def aclose(self) -> None:
        """Close all connections."""
        for shard in self.all:
            await shard.engine.dispose()
