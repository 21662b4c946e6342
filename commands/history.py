"""`sagapay history rebuild`: make the history anew while it is being read and written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from rich.console import Console
from rich.progress import Progress as Bar
from sqlalchemy.ext.asyncio import AsyncEngine

from events.history_databases import HistoryDatabase, HistoryDatabases
from events.history_rebuild import Progress, behind, from_events, from_ledger, take_away
from infra.settings import Settings
from ledger.shards import Shards

LOOK_SECONDS: Final = 0.5


async def rebuild(settings: Settings, console: Console, *, kafka: bool) -> None:
    """From the ledger, or through Kafka from what the outboxes still have. Raises LedgerUnavailable."""
    shards, history = Shards(settings), HistoryDatabases(settings)
    engines = [shard.engine for shard in shards.all]
    try:
        with Bar(console=console) as bar:
            if kafka:
                await from_events(engines[0], history.all)
                await _follow(bar, engines, history.all)
                console.print("The history has read all events once more.")
                return
            written = await _shown(bar, "transactions", from_ledger(engines, history.all))
            removed = await _shown(bar, "lines", take_away(engines, history.all, shards.number_of))
        console.print(f"{written} lines added or put right, {removed} removed")
    finally:
        await history.aclose()
        await shards.aclose()


async def _shown(bar: Bar, what: str, steps: AsyncIterator[Progress]) -> int:
    task, changed = bar.add_task(what), 0
    async for step in steps:
        bar.update(task, completed=step.done, total=step.total)
        changed = step.changed
    bar.update(task, completed=1, total=1)
    return changed


async def _follow(bar: Bar, engines: Sequence[AsyncEngine], databases: Sequence[HistoryDatabase]) -> None:
    task, most = bar.add_task("streams"), 0
    while left := await behind(engines, databases):
        most = max(most, left)
        bar.update(task, completed=most - left, total=most)
        await asyncio.sleep(LOOK_SECONDS)
    bar.update(task, completed=1, total=1)
