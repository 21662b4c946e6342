"""The life of a long-running role without HTTP: logging, metrics, readiness, an orderly end on SIGTERM or SIGINT."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
import uvloop
from prometheus_client import start_http_server

from infra.settings import Settings
from infra.telemetry import REGISTRY, configure_logging

READY_FOLDER = "ready"

log = structlog.get_logger(__name__)


class Life:
    """What a role's main loop is told: when to end; and what it tells: that it does its work."""

    def __init__(self, ready_file: Path | None = None) -> None:
        self._stop = asyncio.Event()
        self._ready_file = ready_file
        self._is_ready = False

    @property
    def stopping(self) -> bool:
        """Whether the role was asked to end."""
        return self._stop.is_set()

    @property
    def is_ready(self) -> bool:
        """Whether the role has said that it does its work."""
        return self._is_ready

    def stop(self) -> None:
        """Ask the role to end; it finishes what it is doing."""
        self._stop.set()

    def ready(self) -> None:
        """Say that the work is being done: the role's readiness file holds this process's id. Idempotent."""
        if self._is_ready:
            return
        self._is_ready = True
        if self._ready_file:
            self._ready_file.parent.mkdir(parents=True, exist_ok=True)
            self._ready_file.write_text(str(os.getpid()))
        log.info("role.ready")

    def ended(self) -> None:
        """Take the readiness file away, unless another process has written its own."""
        if self._ready_file and self._ready_file.exists() and self._ready_file.read_text() == str(os.getpid()):
            self._ready_file.unlink(missing_ok=True)

    async def until_stopped(self) -> None:
        """Wait until the role is asked to end."""
        await self._stop.wait()

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the role is asked to end."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


class Backoff:
    """How long to wait before the next attempt: doubling from `first_seconds` to `longest_seconds`."""

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first, self._longest = first_seconds, longest_seconds
        self._next = first_seconds

    def next_seconds(self) -> float:
        """The next pause."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause

    def reset(self) -> None:
        """Something went well: begin anew."""
        self._next = self._first


def rest_collector() -> None:
    """Take what is loaded by now out of every later garbage collection, and collect young objects less often.

    A full collection goes through all loaded code: tens of milliseconds in which no request is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def run_role(name: str, settings: Settings, main: Callable[[Life], Awaitable[None]]) -> None:
    """Run `main` until it returns, which it does soon after SIGTERM or SIGINT. What it raises passes through."""
    configure_logging(settings.log_level, name)
    rest_collector()
    if settings.metrics_port:
        start_http_server(settings.metrics_port, registry=REGISTRY)
    uvloop.run(_live(name, settings, main))


async def _live(name: str, settings: Settings, main: Callable[[Life], Awaitable[None]]) -> None:
    life = Life(settings.state_dir / READY_FOLDER / name)
    loop = asyncio.get_running_loop()
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop_signal, life.stop)
    log.info("role.started", pid=os.getpid())
    try:
        await main(life)
    finally:
        life.ended()
        log.info("role.ended")
