"""Waiting for what must come, however slow the machine is."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

EVENTUALLY_SECONDS: Final = 150.0


async def eventually(what: str, check: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the check says so. Raises AssertionError with these words if it never does."""
    deadline = time.monotonic() + EVENTUALLY_SECONDS
    while not await check():
        assert time.monotonic() < deadline, f"not within {EVENTUALLY_SECONDS:g} s: {what}"
        await asyncio.sleep(0.1)
