"""The worker as a process of its own, killed again and again between and within the steps of payments."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.transactions import TransactionStatus
from infra.local.child import Child, Command
from infra.secrets import keys_file
from infra.settings import Settings
from tests.workflow.scene import OPENING, Scene, until

SUCCEEDED = TransactionStatus.SUCCEEDED
ROUNDS = 3


class WorkerProcess:
    """`python worker.py` with these settings; killed at whatever it is doing, and started again."""

    def __init__(self, home: Path, settings: Settings) -> None:
        self._ready = home / "ready" / "worker"
        self._command = Command(
            name="worker",
            argv=[sys.executable, "worker.py"],
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
async def running_worker(home: Path, settings: Settings) -> AsyncIterator[WorkerProcess]:
    """A worker process that is gone at the end."""
    worker = WorkerProcess(home, settings)
    try:
        await worker.start()
        yield worker
    finally:
        worker.stop()


@pytest.mark.slow
async def test_a_killed_worker_loses_and_doubles_nothing(idle_scene: Scene, tmp_path: Path) -> None:
    scene = idle_scene
    async with running_worker(tmp_path, scene.settings) as worker:
        people = await asyncio.gather(*(scene.person(balance=1_000) for _ in range(4)))
        slow, silent, later, paired = people
        await scene.misbehave(slow, FaultKind.SLOW, times=2, seconds=1)
        await scene.misbehave(silent, FaultKind.TIMEOUT_AFTER, Operation.PUSH, times=2)
        await scene.misbehave(later, FaultKind.SETTLE_LATER, seconds=3)
        payments = [await scene.withdraw(person, 300) for person in people]
        payments += [await scene.deposit(person, 200) for person in people]
        for _ in range(ROUNDS):
            worker.kill()
            await worker.start()
            payments += [await scene.transfer(slow, paired, 10), await scene.withdraw(silent, 20)]
            await asyncio.sleep(0.3)
        for payment in payments:
            await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(slow) == (900 - 10 * ROUNDS, 0, OPENING - 900)
    assert await scene.all_of(silent) == (900 - 20 * ROUNDS, 0, OPENING - 900 + 20 * ROUNDS)
    assert await scene.all_of(later) == (900, 0, OPENING - 900)
    assert await scene.all_of(paired) == (900 + 10 * ROUNDS, 0, OPENING - 900)
