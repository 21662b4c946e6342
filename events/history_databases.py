"""Where the history is: on the first shard, or on databases of its own, each with an equal part of the wallets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.ids import WalletId, part_of
from infra.database import make_engine
from infra.settings import Settings

CONSUMER: Final = "history"

_FORGET: Final = text("""
    DELETE FROM ledger.consumer_positions
    WHERE (consumer = :consumer OR consumer LIKE :consumer || '-%') AND consumer <> ALL(:ours)
""")


@dataclass(frozen=True, slots=True)
class HistoryDatabase:
    """Part `number` of `count`. `beside_positions`: it is the first shard, where consumers' positions are."""

    number: int
    count: int
    engine: AsyncEngine
    beside_positions: bool

    @property
    def consumer(self) -> str:
        """Who fills it. With another number of databases it is another consumer, which begins at the beginning."""
        return CONSUMER if self.beside_positions else f"{CONSUMER}-{self.number}-of-{self.count}"

    def keeps(self, wallet_id: WalletId) -> bool:
        """Whether a wallet's lines are here."""
        return part_of(wallet_id.bucket, self.count) == self.number


class HistoryDatabases:
    """The map from a wallet to its history's database, in the order of the settings."""

    def __init__(self, settings: Settings) -> None:
        urls = settings.history_urls or settings.shard_urls[:1]
        self.all: Sequence[HistoryDatabase] = [
            HistoryDatabase(
                number,
                len(urls),
                make_engine(url, settings, application_name="sagapay-history", plans_anew=True),
                beside_positions=not settings.history_urls,
            )
            for number, url in enumerate(urls)
        ]

    def of(self, wallet_id: WalletId) -> HistoryDatabase:
        """Where a wallet's history is."""
        return self.all[part_of(wallet_id.bucket, len(self.all))]

    async def aclose(self) -> None:
        """Close all connections."""
        for database in self.all:
            await database.engine.dispose()


async def forget_others(connection: AsyncConnection, databases: Sequence[HistoryDatabase]) -> int:
    """Forget how far the consumers of another arrangement were, for whom relays would keep events; how many streams.

    Over a connection to the first shard as the tables' owner.
    """
    ours = [database.consumer for database in databases]
    return (await connection.execute(_FORGET, {"consumer": CONSUMER, "ours": ours})).rowcount
