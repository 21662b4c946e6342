"""An operator's desk: payments on the real stack, the Temporal UI, a shell with the command, and who sits there."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.async_api import BrowserContext
from temporalio.worker import Worker

from domain.contracts.payments import RetryPlan, bank_queue
from domain.ids import TransactionId
from infra.local.child import Child, Command
from infra.local.probes import free_ports, http_status
from infra.secrets import keys_file
from ledger.batches import Batches
from ledger.directory import Scope
from ledger.local import LocalLedger
from ledger.service import Transaction
from tests.operating.temporal_ui import TemporalUi, tabs
from tests.stack.servers import Servers
from tests.workflow.scene import Scene, polling, until
from worker import build_workers

WAITS_FOR_A_PERSON: Final = RetryPlan(quick_retry_seconds=5, slow_retry_seconds=600, settlement_poll_seconds=0.2)
"""Quick enough to be parked soon, long enough for an attempt that gets no answer to end by itself."""
GRACE_SECONDS: Final = 10.0
ACTIONS: Final = re.compile(r"act_[0-9a-f]{32}")
"""What the command prints of what was proposed."""


class Troubled:
    """The real ledger, but that reading some payments raises: it is too busy for them, or has a bug with them."""

    def __init__(self, ledger: LocalLedger) -> None:
        self._ledger = ledger
        self.trouble: dict[TransactionId, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def transaction(self, transaction_id: TransactionId) -> Transaction | None:
        """See LedgerService."""
        if transaction_id in self.trouble:
            raise self.trouble[transaction_id]
        return await self._ledger.transaction(transaction_id)


@dataclass
class Desk:
    """`maria` and `john` are operators' keys. Workers poll once somebody has started them."""

    scene: Scene
    servers: Servers
    ledger: Troubled
    context: BrowserContext
    environment: dict[str, str]
    maria: str
    john: str
    built: list[Worker] = field(default_factory=list)
    workers: AsyncExitStack = field(default_factory=AsyncExitStack)
    returned: object = None
    """What has come back and is not booked, once somebody has brought it."""

    async def start_workers(self, *, at_banks: bool) -> None:
        """Poll the queues of the banks, or all the others."""
        scene = self.scene
        if not self.built:
            self.built = build_workers(
                scene.temporal,
                self.ledger,  # type: ignore[arg-type]
                scene.directory,
                Batches(scene.ledger.shards),
                {scene.bank.name: scene.bank},
                settings=scene.settings,
            )
        wanted = [worker for worker in self.built if (worker.task_queue == bank_queue(scene.bank.name)) == at_banks]
        await self.workers.enter_async_context(polling(wanted))

    async def until_the_api_is_ready(self) -> None:
        """It has found everything that it needs."""
        port = int(self.environment["SAGAPAY_API_PORT"])

        async def ready() -> bool:
            return await asyncio.to_thread(http_status, port, "/readyz") == 200

        await until("the API is ready", ready)

    @asynccontextmanager
    async def ui(self) -> AsyncIterator[TemporalUi]:
        """A tab, closed at the end: one that stays open asks the server on and on."""
        page = await self.context.new_page()
        yield TemporalUi(self.scene.settings.temporal_ui_url, page)
        await page.close()

    @asynccontextmanager
    async def opened(self, reason: str, condition: str, workflow_id: str) -> AsyncIterator[TemporalUi]:
        """Find a parked workflow by its runbook's filter, open it, and read what its details say."""
        only_it = f"WorkflowId = '{workflow_id}' AND ({condition})"
        await until(f"{workflow_id} is listed", lambda: self.lists(only_it, workflow_id))
        async with self.ui() as ui:
            await ui.open(condition, workflow_id)
            await ui.reads("parked", "Not known:", "What you can do:", f"runbooks.md#{reason}")
            yield ui

    async def lists(self, condition: str, *workflow_ids: str) -> bool:
        """Whether Temporal lists these running workflows by a condition, and no others."""
        query = f"ExecutionStatus = 'Running' AND {condition}"
        return sorted([found.id async for found in self.scene.temporal.list_workflows(query)]) == sorted(workflow_ids)

    async def lists_attention(self) -> bool:
        """Whether the command can list what is parked."""
        try:
            await self.shell("sagapay attention list")
        except AssertionError:
            return False
        return True

    async def shell(
        self,
        block: str,
        *,
        payment: str = "txn_…",
        action: str = "act_…",
        booking: str = "return:…",
        key: str | None = None,
    ) -> str:
        """Type a runbook's block, with ids in place of `txn_…`, `act_…` and `return:…`; what it prints.

        Raises AssertionError where it fails.
        """
        typed = block.replace("txn_…", payment).replace("act_…", action).replace("return:…", booking)
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euc", typed),
            env={**self.environment, "SAGAPAY_OPERATOR_KEY": key or self.maria},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0, f"{typed}\n{printed.decode()}"
        return printed.decode()


@asynccontextmanager
async def open_desk(scene: Scene, servers: Servers, home: Path) -> AsyncIterator[Desk]:
    """A desk in a scene without workers: an API of its own, a browser, two operators."""
    (port,) = free_ports(1)
    settings = scene.settings
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SAGAPAY_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SAGAPAY_STATE_DIR": str(home),
        "SAGAPAY_API_PORT": str(port),
        "SAGAPAY_API_HOSTS_WORKER": "false",
        "SAGAPAY_SHARD_URLS": ",".join(settings.shard_urls),
        "SAGAPAY_REDIS_URL": settings.redis_url,
        "SAGAPAY_TEMPORAL_ADDRESS": settings.temporal_address,
        "SAGAPAY_BANK_URL": settings.bank_url,
        "SAGAPAY_ENCRYPTION_KEYS_FILE": str(keys_file(settings).resolve()),
        "SAGAPAY_LOG_LEVEL": "WARNING",
    }
    api = Child(
        Command(name="api", argv=[sys.executable, "-m", "cli", "api"], log=home / "api.log", environment=environment)
    )

    async def key(name: str) -> str:
        return await scene.directory.create_key(scene.app.client_id, Scope.OPERATOR, name)

    try:
        async with tabs() as context:
            desk = Desk(
                scene, servers, Troubled(scene.ledger), context, environment, await key("maria"), await key("john")
            )
            await desk.until_the_api_is_ready()
            async with desk.workers:
                yield desk
    finally:
        api.stop(GRACE_SECONDS)
