"""A consumer that dies in the worst moment: `python -m tests.events` has its first effects and is killed at once."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence

from events.confirmations import News
from events.consumers import ConsumerLoop
from events.messages import Incoming
from events.streams import Stream
from infra.database import make_engine
from infra.role import Life
from infra.settings import settings
from tests.events.stage import Recorder


class DiesBeforeItsOffsets(ConsumerLoop):
    """Killed after the commit of the effects and before the broker hears of it."""

    async def apply(self, arrived: Mapping[Stream, Sequence[Incoming]]) -> dict[Stream, News]:
        news = await super().apply(arrived)
        if any(found.fresh for found in news.values()):
            os.kill(os.getpid(), signal.SIGKILL)
        return news


async def consume() -> None:
    """Never returns."""
    engines = [make_engine(url, settings()) for url in settings().shard_urls]
    await DiesBeforeItsOffsets(Recorder(), settings(), engines, Life()).run()


asyncio.run(consume())
