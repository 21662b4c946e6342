"""A scene for each module: its own ledger database, bank and Temporal server, and workers in this process."""

from collections.abc import AsyncIterator, Iterator

import pytest

from infra.settings import Settings
from tests.money.fixtures import databases
from tests.money.scratch import Databases
from tests.stack.bank import BankProcess
from tests.stack.servers import Servers
from tests.workflow.scene import Scene, open_scene, working
from tests.workflow.stage import stage

__all__ = ["databases"]


@pytest.fixture(scope="module")
def own_stage(
    tmp_path_factory: pytest.TempPathFactory, bare_servers: Servers, databases: Databases
) -> Iterator[tuple[Settings, BankProcess]]:
    """Settings of this module's own servers, and its bank."""
    with stage(tmp_path_factory.mktemp("stage"), bare_servers.settings, databases) as made:
        yield made


@pytest.fixture(scope="module")
async def idle_scene(own_stage: tuple[Settings, BankProcess]) -> AsyncIterator[Scene]:
    """A scene without workers. At its end not a cent may be off, here or at the bank."""
    async with open_scene(*own_stage) as scene:
        yield scene
        wrong = [f"{finding.name}: {finding.violations}" for finding in await scene.verify() if not finding.ok]
        assert not wrong, wrong
        assert (await scene.admin.books()).balanced


@pytest.fixture(scope="module")
async def scene(idle_scene: Scene) -> AsyncIterator[Scene]:
    """A scene whose workers run in this process."""
    async with working(idle_scene):
        yield idle_scene
