"""The `ledger` role as a process, for tests: own port, killed and restarted at will."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.child import Child, Command
from infra.local.probes import free_ports, names_pid
from infra.settings import Settings
from tests.stack.platform import until

GRACE_SECONDS = 10.0


class LedgerProcess:
    """`sagapay ledger` with these settings at `address`. `variables` are further SAGAPAY_… variables."""

    def __init__(self, home: Path, settings: Settings, **variables: str) -> None:
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        self._ready = home / "ready" / "ledger"
        self._command = Command(
            name="ledger",
            argv=[sys.executable, "-m", "cli", "ledger"],
            log=home / "ledger.log",
            environment={
                "SAGAPAY_STATE_DIR": str(home),
                "SAGAPAY_SHARD_URLS": ",".join(settings.shard_urls),
                "SAGAPAY_MIGRATION_URLS": ",".join(settings.migration_urls),
                "SAGAPAY_DATABASE_TIMEOUT_SECONDS": str(settings.database_timeout_seconds),
                "SAGAPAY_LEDGER_PORT": str(port),
                "SAGAPAY_LOG_LEVEL": "WARNING",
                **variables,
            },
        )
        self._child = Child(self._command)

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._child.pid

    @property
    def log(self) -> str:
        """What it wrote so far, over all its lives."""
        return self._command.log.read_text(errors="replace")

    @property
    def is_ready(self) -> bool:
        """Whether its readiness file names the process that runs."""
        return self._child.code is None and names_pid(self._ready, self._child.pid)

    def wait_ready(self) -> None:
        """Until it serves."""

        def ready() -> bool:
            assert self._child.code is None, self.log
            return self.is_ready

        until("the ledger's service is ready", ready)

    def kill(self) -> None:
        """kill -9, at whatever it is doing."""
        os.kill(self._child.pid, signal.SIGKILL)
        self._child.wait(GRACE_SECONDS)

    def start(self) -> None:
        """Start it again on the same port; returns at once."""
        self._child = Child(self._command)

    def ask_to_stop(self) -> None:
        """SIGTERM, as a supervisor stops it; returns at once."""
        os.kill(self._child.pid, signal.SIGTERM)

    async def ended(self) -> int | None:
        """Its exit code, once it has ended."""
        return await asyncio.to_thread(self._child.wait, GRACE_SECONDS)

    def stop(self) -> None:
        """For the end of a test."""
        self._child.stop(GRACE_SECONDS)


@contextmanager
def running_ledger(home: Path, settings: Settings, **variables: str) -> Iterator[LedgerProcess]:
    """A ready process that is gone at the end."""
    process = LedgerProcess(home, settings, **variables)
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()
