"""A set of services kept running: started side by side, watched, restarted with back-off, stopped in order."""

import time
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from infra.local.child import Child
from infra.local.service import Service
from infra.local.watchdog import Watchdog

PROBE_INTERVAL_SECONDS = 0.05
FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
"""A process that was ready this long starts its back-off anew."""
ATTEMPTS_BEFORE_FIRST_READY = 3


class Status(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


class StartFailed(RuntimeError):
    """A process of the stack did not become ready. `name` says which, `log` where it wrote why."""

    def __init__(self, name: str, reason: str, log: Path | None = None) -> None:
        self.name, self.reason, self.log = name, reason, log
        super().__init__(f"{name} {reason}" + "".join(f"\n  {line}" for line in last_lines(log)))


def last_lines(log: Path | None, count: int = 10) -> list[str]:
    """The end of a log, where a process says why it ended."""
    if log is None or not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 64 * 1024))
        return file.read().decode(errors="replace").splitlines()[-count:]


class Unit:
    """One supervised process over all its restarts. Call `tick` often; it never waits for the process."""

    def __init__(self, service: Service, watchdog: Watchdog | None, start_timeout_seconds: float) -> None:
        self.service = service
        self.status = Status.WAITING
        self.restarts = 0
        self.child: Child | None = None
        self._watchdog = watchdog
        self._start_timeout = start_timeout_seconds
        self._attempts = 0
        self._was_ready = False
        self._since = 0.0
        self._start_at = 0.0

    @property
    def pid(self) -> int | None:
        """The process id, or None while nothing runs."""
        return self.child.pid if self.child else None

    def start(self) -> None:
        """Spawn it. A failure to do so counts as an attempt and is tried again by `tick`. Raises StartFailed."""
        self._since = time.monotonic()
        self.status = Status.STARTING
        try:
            self.service.before_start()
            self.child = Child(self.service.command, self._watchdog)
        except (OSError, RuntimeError) as error:
            self._ended(f"cannot start: {error}")

    def tick(self) -> None:
        """Look at the process and do what is due. Raises StartFailed if it never becomes ready."""
        if self.status is Status.STARTING:
            self._tick_starting()
        elif self.status is Status.READY and self.child and self.child.code is not None:
            self._ended(f"ended with code {self.child.code}")
        elif self.status is Status.RESTARTING and time.monotonic() >= self._start_at:
            self.restarts += self._was_ready
            self.start()

    def _tick_starting(self) -> None:
        assert self.child
        if self.child.code is not None:
            self._ended(f"ended with code {self.child.code} before it was ready")
        elif self.service.is_ready(self.child.pid):
            try:
                self.service.once_up()
            except RuntimeError as error:
                self._ended(str(error))
                return
            self._was_ready = True
            self._since = time.monotonic()
            self.status = Status.READY
        elif time.monotonic() - self._since > self._start_timeout:
            self._ended(f"was not ready after {self._start_timeout:g} s")

    def _ended(self, reason: str) -> None:
        if self.child:
            self.child.stop(grace_seconds=0)
            self.child = None
        now = time.monotonic()
        if self.status is Status.READY and now - self._since > HEALTHY_SECONDS:
            self._attempts = 0
        self._attempts += 1
        if not self._was_ready and self._attempts >= ATTEMPTS_BEFORE_FIRST_READY:
            self.status = Status.STOPPED
            raise StartFailed(self.service.name, reason, self.service.command.log)
        self.status = Status.RESTARTING
        self._start_at = now + min(FIRST_BACKOFF_SECONDS * 2 ** (self._attempts - 1), LONGEST_BACKOFF_SECONDS)

    def stopped(self) -> None:
        """Its process was ended on purpose."""
        self.child, self.status = None, Status.STOPPED


class Stack:
    """Units in the order in which they were added; they stop in the opposite order of their groups."""

    def __init__(
        self,
        watchdog: Watchdog | None = None,
        start_timeout_seconds: float = 60.0,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.units: list[Unit] = []
        self._groups: list[list[Unit]] = []
        self._watchdog = watchdog
        self._start_timeout = start_timeout_seconds
        self._on_change = on_change
        self._seen: object = None

    def start(self, services: Iterable[Service]) -> None:
        """Spawn a group side by side. Raises StartFailed."""
        group = [Unit(service, self._watchdog, self._start_timeout) for service in services]
        self._groups.append(group)
        self.units += group
        for unit in group:
            unit.start()
            self._tell()

    def tick(self) -> bool:
        """Do what is due. Returns whether every process is ready. Raises StartFailed."""
        for unit in self.units:
            unit.tick()
        self._tell()
        return all(unit.status is Status.READY for unit in self.units)

    def wait_ready(self, still_wanted: Callable[[], bool] = lambda: True) -> bool:
        """Tick until every process is ready, or no longer wanted (then False). Raises StartFailed."""
        while not self.tick():
            if not still_wanted():
                return False
            time.sleep(PROBE_INTERVAL_SECONDS)
        return True

    def stop(self, grace_seconds: float) -> None:
        """End every process, last group first, each group side by side. Nothing is left afterwards."""
        for group in reversed(self._groups):
            _stop_together(group, grace_seconds)
            self._tell()
        self._groups.clear()

    def _tell(self) -> None:
        now = [(unit.service.name, unit.status, unit.pid, unit.restarts) for unit in self.units]
        if now != self._seen:
            self._seen = now
            self._on_change()


def _stop_together(units: Sequence[Unit], grace_seconds: float) -> None:
    deadline = time.monotonic() + grace_seconds
    for unit in units:
        if unit.child:
            unit.child.ask_to_stop()
    for unit in units:
        if unit.child:
            unit.child.stop(max(0.0, deadline - time.monotonic()))
        unit.stopped()
