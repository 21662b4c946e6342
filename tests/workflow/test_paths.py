"""Every path on the real servers; afterwards not a cent is off and every history of it replays."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.replay.corpus import histories_of, replay, secrets_in
from tests.workflow.every_path import PATHS, run_all
from tests.workflow.scene import Payment, Scene


@pytest.fixture(scope="module")
async def walks(scene: Scene, request: pytest.FixtureRequest) -> AsyncIterator[dict[str, asyncio.Task[Payment]]]:
    """All selected paths, under way side by side."""
    wanted = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    tasks = run_all(scene, [name for name in PATHS if name in wanted])
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("name", PATHS)
async def test_path(name: str, walks: dict[str, asyncio.Task[Payment]], scene: Scene) -> None:
    payment = await walks[name]
    histories = await histories_of(scene.temporal, payment.handle.id)
    assert histories
    for history in histories:
        assert secrets_in(history, scene.tokens) == []
        await replay(history)
