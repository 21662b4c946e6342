"""The consumer that keeps the cache of balances fresh: what an entry has outdated is dropped, and not written again."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import ENTRIES_TOPIC, EntryPostedEvent, Envelope
from domain.ids import WalletId
from events.metrics import BALANCES_DROPPED
from infra.redis import BALANCE_SECONDS, Cache, balance_name


class Balances:
    """Tells the cache each wallet's newest version. Events that come again, or late, change nothing there.

    What Redis misses while it is away is as old as it may be a few seconds later: nothing waits for it.
    """

    name = "balances"
    topics = frozenset({ENTRIES_TOPIC})
    types = frozenset({"entry.posted"})

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope]) -> None:
        """Drop cached balances that are older than these entries. Only the cache is touched."""
        newest: dict[str, int] = {}
        for envelope in envelopes:
            entry = envelope.data
            if isinstance(entry, EntryPostedEvent) and isinstance(entry.account_id, WalletId):
                name = balance_name(entry.account_id)
                newest[name] = max(entry.version, newest.get(name, 0))
        if newest:
            BALANCES_DROPPED.inc(await self._cache.outdate_many(newest, ttl_seconds=BALANCE_SECONDS))
