"""`python -m benchmarks.events.listener FILE`: a consumer of all topics, which writes down how old each event was.

A line of FILE is a commit: when it was, and the age of each of its events in milliseconds.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

from events.confirmations import News
from events.consumers import ConsumerLoop
from events.history import History
from events.messages import Incoming
from events.streams import TOPICS, Stream
from infra.database import make_engine
from infra.role import Life
from infra.settings import settings


class Everything(History):
    """The history, which also reads what is of no use to it, as another consumer would."""

    topics = frozenset(TOPICS)


class Listening(ConsumerLoop):
    """The real one, and a note after each commit."""

    notes: Path

    async def apply(self, arrived: Mapping[Stream, Sequence[Incoming]]) -> dict[Stream, News]:
        """See ConsumerLoop."""
        news = await super().apply(arrived)
        now = datetime.now(UTC)
        values = [orjson.loads(event.value) for found in news.values() for event in found.fresh]
        fresh = [datetime.fromisoformat(value["time"]) for value in values]
        if fresh:
            ages = [round((now - time).total_seconds() * 1000, 1) for time in fresh]
            with self.notes.open("a") as file:
                file.write(orjson.dumps([now.timestamp(), ages]).decode() + "\n")
        return news


async def listen(notes: Path) -> None:
    """Until it is killed."""
    engines = [make_engine(url, settings(), application_name="sagapay-consumers") for url in settings().shard_urls]
    loop = Listening(Everything(), settings(), engines, Life())
    loop.notes = notes
    await loop.run()


if __name__ == "__main__":
    asyncio.run(listen(Path(sys.argv[1])))
