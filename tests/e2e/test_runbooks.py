"""Every runbook is done as it is written: in a browser and a shell, with the words of its own blocks, to its end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.money.fixtures import databases  # noqa: F401  -- a fixture
from tests.operating.desk import Desk, open_desk
from tests.operating.every_runbook import ALONE, PERFORMERS
from tests.operating.runbook import Runbook, runbooks
from tests.operating.temporal_ui import CHROMIUM
from tests.stack.servers import Servers
from tests.workflow.conftest import idle_scene, own_stage  # noqa: F401  -- fixtures
from tests.workflow.scene import Scene

AT_ONCE = 4
FIRST, LAST = "timed_out", "ledger_unavailable"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


async def _done(desk: Desk, book: Runbook) -> None:
    await PERFORMERS[book.reason](desk, book)
    assert book.left == [], "blocks that nobody has used"


@pytest.fixture(scope="module")
async def done(
    idle_scene: Scene,  # noqa: F811
    bare_servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[str, "asyncio.Task[None]"]]:
    """A task for each runbook: one while no worker serves the bank, then most at once, then one without a database."""
    books = runbooks()
    assert {FIRST, LAST} == ALONE
    async with open_desk(idle_scene, bare_servers, tmp_path_factory.mktemp("desk")) as desk:
        await desk.start_workers(at_banks=False)
        tasks = {FIRST: asyncio.create_task(_done(desk, books.pop(FIRST)))}
        await tasks[FIRST]  # Without a worker at the bank none of the others can end.
        places, last = asyncio.Semaphore(AT_ONCE), books.pop(LAST)

        async def in_turn(book: Runbook) -> None:
            async with places:
                await _done(desk, book)

        async def at_last() -> None:
            await asyncio.wait([task for reason, task in tasks.items() if reason != LAST])
            await _done(desk, last)

        tasks |= {reason: asyncio.create_task(in_turn(book)) for reason, book in books.items()}
        tasks[LAST] = asyncio.create_task(at_last())
        yield tasks
        for task in tasks.values():
            task.cancel()
        await asyncio.wait(tasks.values())


@pytest.mark.parametrize("reason", sorted(runbooks()))
async def test_runbook(reason: str, done: dict[str, "asyncio.Task[None]"]) -> None:
    await done[reason]
