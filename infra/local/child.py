"""One child process: started so that it ends with its owner, logged to a file, stopped with patience and then without.

Spawn from the main thread: on Linux the parent-death signal fires when the spawning *thread* ends.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.fork import Forked, forget_the_parent, fork_off, has_one_thread
from infra.local.launcher import tie_to
from infra.local.watchdog import Watchdog

LAUNCHER = Path(__file__).with_name("launcher.py")
MAX_LOG_BYTES = 16 * 1024 * 1024
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Command:
    """What to run and how it wants to end."""

    name: str
    argv: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    unprivileged: bool = False
    """Leave root before it runs (PostgreSQL refuses root)."""
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    """What it gets when its owner was killed."""
    preloaded: Callable[[], int] | None = None
    """The same program as a function that this process has loaded; then a copy of this process is enough."""


class Child:
    """A running Command. `stop` is idempotent; `code` is None while it runs."""

    def __init__(self, command: Command, watchdog: Watchdog | None = None) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("children are spawned from the main thread, with whose life theirs is tied")
        self.command = command
        self._watchdog = watchdog
        self._buried = False
        _turn_over(command.log)
        if command.preloaded and has_one_thread():
            self._process: Forked | subprocess.Popen[bytes] = Forked(self._fork(command.preloaded))
        else:
            self._process = self._execute()

    def _execute(self) -> "subprocess.Popen[bytes]":
        command, tie = self.command, self._watchdog.descriptor if self._watchdog else -1
        leave_root = command.unprivileged and os.geteuid() == 0
        prefix = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(command.orphan_signal))]
        with command.log.open("ab") as log:
            return subprocess.Popen(
                [*prefix, str(int(leave_root)), str(tie), *command.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **command.environment},
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops its children in order.
                pass_fds=(tie,) if self._watchdog else (),
            )

    def _fork(self, program: Callable[[], int]) -> int:
        parent, command, watchdog = os.getpid(), self.command, self._watchdog

        def work() -> int:
            tie_to(parent, int(command.orphan_signal), watchdog.descriptor if watchdog else -1)
            forget_the_parent()
            os.environ.update(command.environment)
            sys.argv = list(command.argv)
            return program()

        return fork_off(work, command.log)

    @property
    def pid(self) -> int:
        """Its process id, for ever the same: the launcher becomes the program."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""
        code = self._process.poll()
        if code is not None and not self._buried:
            self._bury()
        return code

    def ask_to_stop(self) -> None:
        """Send the orderly stop signal."""
        if self.code is None:
            self._process.send_signal(self.command.stop_signal)

    def stop(self, grace_seconds: float) -> None:
        """Ask, wait, then kill. Nothing of its process group is left."""
        self.ask_to_stop()
        self.wait(grace_seconds)
        if self.code is None:
            self._process.kill()
            self._process.wait()
            self._bury()

    def wait(self, seconds: float, still_wanted: Callable[[], bool] = lambda: True) -> int | None:
        """Wait for its end. Returns the exit code, or None if it still runs after that time."""
        deadline = time.monotonic() + seconds
        while self.code is None and time.monotonic() < deadline and still_wanted():
            time.sleep(POLL_SECONDS)
        return self.code

    def _bury(self) -> None:
        self._buried = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # What it may have started itself.
        if self._watchdog:
            self._watchdog.forget(self.pid)


def _turn_over(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_suffix(".log.old"))
