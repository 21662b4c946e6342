"""Heartbeats: the server notices a worker that was killed, and the activity hears of a pause or reset."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from temporalio import activity

HEARTBEAT_SECONDS: Final = 2.0


def _nothing() -> None:
    return None


@asynccontextmanager
async def heartbeats(position: Callable[[], object] = _nothing) -> AsyncIterator[None]:
    """Beats for the length of the block, each time with where the activity stands."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            activity.heartbeat(position())

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
