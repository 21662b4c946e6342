"""A scene on servers of its own, for what runs outside a test session."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from infra.settings import Settings
from tests.money.scratch import Databases
from tests.stack.bank import BankProcess, running_bank
from tests.stack.servers import running_servers
from tests.workflow.scene import Scene, open_scene, working
from tests.workflow.temporal_server import running_temporal

REQUEST_TIMEOUT_SECONDS = 1.5
# No path is nearly as long, but for those that wait for this.
LONG_HISTORY_EVENTS = 60


@contextmanager
def stage(home: Path, base: Settings, databases: Databases) -> Iterator[tuple[Settings, BankProcess]]:
    """An empty ledger on `base`'s PostgreSQL, a bank and a Temporal server, with short time-outs."""
    with databases.copy() as database, running_bank(home / "bank") as bank:
        own = database.settings(
            base,
            bank_url=bank.url,
            bank_request_timeout_seconds=REQUEST_TIMEOUT_SECONDS,
            database_pool_size=20,
        )
        with running_temporal(home / "temporal", own, suggest_continue_as_new_events=LONG_HISTORY_EVENTS) as settings:
            yield settings, bank


@asynccontextmanager
async def whole_scene(home: Path) -> AsyncIterator[Scene]:
    """A scene with workers, and every server below `home`."""
    with (
        running_servers(home / "servers") as servers,
        stage(home, servers.settings, Databases(servers.settings)) as (settings, bank),
    ):
        async with open_scene(settings, bank) as scene, working(scene):
            yield scene
