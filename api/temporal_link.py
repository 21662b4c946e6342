"""The API's way to Temporal: connects in the background, again and again, and hosts the worker for transfers."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from api.outcomes import Outcomes
from domain.contracts.activities import FirstStepWitness
from domain.errors import WorkflowsUnavailable
from infra.role import Backoff
from infra.settings import Settings
from infra.temporal import connect
from ledger.service import LedgerService

HostedWorker = Callable[[Client, LedgerService, Settings, FirstStepWitness], Worker]

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 5.0
_ABANDON_SECONDS: Final = 1.0
_STARTED_WITHIN_SECONDS: Final = 2.0

log = structlog.get_logger("api")


class TemporalLink:
    """One client for all requests and the hosted worker: only then do transfers start eagerly.

    Until the first connection succeeds, `client` raises; after it the client itself reconnects. `outcomes` hears of
    each transfer that the hosted worker carries out.
    """

    def __init__(self, settings: Settings, ledger: LedgerService, hosted_worker: HostedWorker | None) -> None:
        self._settings = settings
        self._ledger = ledger
        self._hosted_worker = hosted_worker if settings.api_hosts_worker else None
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._worker: Worker | None = None
        self.outcomes = Outcomes()

    @property
    def client(self) -> Client:
        """The connected client. Raises WorkflowsUnavailable."""
        if self._client is None:
            raise WorkflowsUnavailable
        return self._client

    @property
    def starts_eagerly(self) -> bool:
        """Whether a worker of this process takes transfers."""
        return self._worker is not None

    @property
    def wants_worker(self) -> bool:
        """Whether this process is meant to host one."""
        return self._hosted_worker is not None

    async def start(self) -> None:
        """Begin to connect; returns when connected, or after a moment all the same."""
        self._task = asyncio.create_task(self._keep(), name="temporal-link")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), _STARTED_WITHIN_SECONDS)

    async def ping(self) -> None:
        """Ask Temporal whether it serves. Raises WorkflowsUnavailable."""
        try:
            healthy = await self.client.service_client.check_health()
        except (RPCError, RuntimeError) as error:
            raise WorkflowsUnavailable(f"Temporal does not answer: {error}") from error
        if not healthy:
            raise WorkflowsUnavailable("Temporal says that it is not serving.")

    async def aclose(self) -> None:
        """Let the hosted worker finish what it has begun, for a while; whatever it leaves, another worker takes over.

        A worker's drain has no end while a local activity keeps failing, so a second cancellation ends the drain.
        """
        if self._task is None:
            return
        for patience in (DRAIN_SECONDS, _ABANDON_SECONDS):
            self._task.cancel()
            done, _ = await asyncio.wait({self._task}, timeout=patience)
            if done:
                return
        log.warning("transfer_worker.abandoned")

    async def _keep(self) -> None:
        self._client = await self._connected()
        if self._hosted_worker is None:
            self._settled.set()
            return
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while True:
            try:
                await self._host(self._client, self._hosted_worker)
            except Exception:
                # Whatever ended it, transfers go on: other workers poll the same queue until this one is back.
                log.exception("transfer_worker.stopped")
            self._settled.set()
            await asyncio.sleep(backoff.next_seconds())

    async def _host(self, client: Client, build: HostedWorker) -> None:
        worker = build(client, self._ledger, self._settings, self.outcomes.hear)
        self._worker = worker
        self._settled.set()
        try:
            # Cancelling this call makes the worker drain for its own grace period first.
            await worker.run()
        finally:
            self._worker = None

    async def _connected(self) -> Client:
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while True:
            try:
                return await connect(self._settings)
            except WorkflowsUnavailable as error:
                log.warning("temporal.unreachable", error=error.detail)
            await asyncio.sleep(backoff.next_seconds())
