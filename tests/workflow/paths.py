"""Every way a payment can go, by name. Each asserts on balances, records and the bank's books, and can be recorded.

`run_all` lets them run side by side: most of a path is waiting for a bank.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from tests.workflow.scene import Payment, Scene

Path = Callable[[Scene], Awaitable[Payment]]

PATHS: Final[dict[str, Path]] = {}
AT_ONCE: Final = 6


def path(function: Path) -> Path:
    """Registers a path under its function's name."""
    PATHS[function.__name__] = function
    return function


def run_all(scene: Scene, names: Iterable[str]) -> dict[str, asyncio.Task[Payment]]:
    """A task for each path; one that fails keeps its error for whoever awaits it."""
    places = asyncio.Semaphore(AT_ONCE)

    async def walk(name: str) -> Payment:
        async with places:
            return await PATHS[name](scene)

    return {name: asyncio.create_task(walk(name), name=name) for name in names}
