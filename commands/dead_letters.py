"""`sagapay dead-letters`: events that a consumer could not process: see them, and have them processed after all."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from events.consumers import note_cache_error, replay_dead_letter
from events.dead_letters import waiting
from infra.database import make_engine
from infra.redis import Cache, make_redis
from infra.settings import Settings

PAGE: Final = 1000


async def show(settings: Settings, console: Console, consumer: str | None) -> None:
    """A table of those that wait. Raises LedgerUnavailable."""
    engine = make_engine(settings.shard_urls[0], settings)
    try:
        found = await waiting(engine, consumer=consumer, limit=PAGE)
    finally:
        await engine.dispose()
    table = Table("number", "consumer", "event", "topic", "position", "since", "reason")
    for letter in found:
        stream = letter.event.stream
        table.add_row(
            str(letter.number),
            letter.consumer,
            letter.event.type,
            f"{stream.topic}/{stream.lane} of shard {stream.shard}",
            str(letter.event.position),
            f"{letter.created_at:%Y-%m-%d %H:%M:%S}",
            letter.reason,
        )
    console.print(table if found else "No event waits to be processed.")


async def replay(settings: Settings, console: Console, numbers: Sequence[int], consumer: str | None) -> bool:
    """Process these, or all that wait where none is named; True if each has had its effect.

    Raises NotFound, LedgerUnavailable and SettingsInvalid; what was processed before stays.
    """
    engine = make_engine(settings.shard_urls[0], settings)
    cache = Cache(make_redis(settings), note_cache_error)
    whole = True
    try:
        if not numbers:
            numbers = [letter.number for letter in await waiting(engine, consumer=consumer, limit=PAGE)]
        for number in numbers:
            reason = await replay_dead_letter(settings, engine, cache, number)
            console.print(f"{number}: {reason or 'processed'}", soft_wrap=True)
            whole = whole and reason is None
    finally:
        await cache.aclose()
        await engine.dispose()
    console.print(f"{len(numbers)} tried")
    return whole
