"""A worker is killed before and after each activity of returns and batches; the next one goes on, and nothing shows."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import pytest
from temporalio.activity import _Definition

from activities.batches import BatchActivities
from activities.returns import ReturnActivities
from tests.kills.batches import BATCHES
from tests.kills.returns import RETURNS
from tests.kills.walk import Cell, Fate, cells_of, fates_of, kill_scene
from tests.money.scratch import Databases
from tests.stack.servers import Servers

CELLS: Final = cells_of([*RETURNS, *BATCHES])


@pytest.fixture(scope="module")
async def fates(
    tmp_path_factory: pytest.TempPathFactory, bare_servers: Servers, databases: Databases
) -> AsyncIterator[Mapping[Cell, Fate]]:
    """What became of every cell. At the end not a cent may be off, here, between the shards or at the bank."""
    async with kill_scene(tmp_path_factory.mktemp("kills"), bare_servers, databases) as scene:
        yield await fates_of(scene, CELLS, tmp_path_factory.mktemp("worker"))
        wrong = [f"{finding.name}: {finding.violations}" for finding in await scene.verify() if not finding.ok]
        assert not wrong, wrong
        assert (await scene.admin.books()).balanced


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
async def test_whoever_dies_where_all_happens_once(fates: Mapping[Cell, Fate], cell: Cell) -> None:
    fate = fates[cell]
    assert fate.facts == cell.walk.EXPECTED
    assert fate.ended, "it still goes on"
    assert fate.stopped_at == cell.activity
    assert fate.attempts > 1, "nobody noticed that the worker was dead"
    assert cell.walk.foresees(fate.called), f"there are no cells for {fate.called}"


def test_no_activity_of_returns_or_batches_is_without_its_cells() -> None:
    found = [
        _Definition.from_callable(method)
        for activities in (ReturnActivities, BatchActivities)
        for method in vars(activities).values()
        if callable(method)
    ]
    assert {cell.activity for cell in CELLS} == {definition.name for definition in found if definition is not None}
