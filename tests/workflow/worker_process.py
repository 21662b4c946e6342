"""The worker as a process of its own, and what such a process does that has banks of a test's own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.client import Client, Interceptor

from bank_adapters.port import BankAdapter
from infra.local.child import Child, Command
from infra.role import READY_FOLDER
from infra.secrets import Cipher, keys_file
from infra.settings import Settings
from infra.temporal import connect
from ledger.batches import Batches
from ledger.directory import Directory
from ledger.local import LocalLedger
from tests.workflow.scene import until
from worker import build_workers


class WorkerProcess:
    """A worker with these settings, `python worker.py` or another; killed at whatever it does, and started again.

    `variables` are further SAGAPAY_… variables.
    """

    def __init__(self, home: Path, settings: Settings, *words: str, **variables: str) -> None:
        self._ready = _ready_file(home)
        self._command = Command(
            name="worker",
            argv=[sys.executable, *(words or ("worker.py",))],
            log=home / "worker.log",
            environment={
                "SAGAPAY_STATE_DIR": str(home),
                "SAGAPAY_SHARD_URLS": ",".join(settings.shard_urls),
                "SAGAPAY_MIGRATION_URLS": ",".join(settings.migration_urls),
                "SAGAPAY_TEMPORAL_ADDRESS": settings.temporal_address,
                "SAGAPAY_BANK_URL": settings.bank_url,
                "SAGAPAY_BANK_REQUEST_TIMEOUT_SECONDS": str(settings.bank_request_timeout_seconds),
                "SAGAPAY_ENCRYPTION_KEYS_FILE": str(keys_file(settings).resolve()),
                "SAGAPAY_LOG_LEVEL": "WARNING",
                **variables,
            },
        )
        self._child: Child | None = None

    async def start(self) -> None:
        """Returns when it polls."""
        self._ready.unlink(missing_ok=True)
        self._child = Child(self._command)

        async def ready() -> bool:
            assert self._child is not None
            assert self._child.code is None, self._command.log.read_text()
            return self._ready.exists()

        await until("the worker is ready", ready)

    def kill(self) -> None:
        """kill -9."""
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGKILL)
        self._child.wait(5)

    def stop(self) -> None:
        """For the end of a test."""
        if self._child is not None:
            self._child.stop(5)


@asynccontextmanager
async def running_worker(home: Path, settings: Settings, *words: str, **variables: str) -> AsyncIterator[WorkerProcess]:
    """A worker process that is gone at the end."""
    worker = WorkerProcess(home, settings, *words, **variables)
    try:
        await worker.start()
        yield worker
    finally:
        worker.stop()


async def work_for(
    banks: Mapping[str, BankAdapter],
    own: Settings,
    *,
    interceptor: Interceptor | None = None,
    dressed: Callable[[LocalLedger], Any] = lambda ledger: ledger,
) -> None:
    """In such a process: poll every queue with these banks until it is killed, and say when it is ready.

    `interceptor` may be one of workers, too; `dressed` puts something before the ledger.
    """
    async with AsyncExitStack() as stack:
        ledger = LocalLedger(own)
        stack.push_async_callback(ledger.aclose)
        directory = Directory(ledger.shards.all[0].engine, Cipher.from_settings(own))
        client = await connect(own)
        if interceptor is not None:
            client = Client(**{**client.config(), "interceptors": [interceptor]})
        for worker in build_workers(client, dressed(ledger), directory, Batches(ledger.shards), banks, settings=own):
            await stack.enter_async_context(worker)
        ready = _ready_file(own.state_dir)
        ready.parent.mkdir(exist_ok=True)
        ready.touch()
        await asyncio.Event().wait()


def _ready_file(home: Path) -> Path:
    return home / READY_FOLDER / "worker"
