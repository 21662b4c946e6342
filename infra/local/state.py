"""stack.json, by which commands and tests see a running stack, and the lock that says whether one runs.

The lock is the truth: it ends with its process. A stack.json without a held lock is what a killed supervisor left.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from pydantic import BaseModel, Field, ValidationError

from infra.local.broker import write_atomically
from infra.local.stack import Status

Phase = Literal["starting", "ready", "stopping", "stopped", "failed"]


LOCK = "supervisor.lock"
LOCK_SECONDS = 0.5
"""Asking who holds the lock takes it for a moment, so one refusal says little."""


class AlreadyRunning(Exception):
    """Another supervisor holds this state directory."""


class ProcessState(BaseModel):
    """One supervised process."""

    pid: int | None
    status: Status
    restarts: int
    log: Path


class Failure(BaseModel):
    """Why the start was given up."""

    name: str
    reason: str
    log: Path | None = None


class StackState(BaseModel):
    """The content of stack.json."""

    supervisor_pid: int
    phase: Phase = "starting"
    environment: dict[str, str] = Field(default_factory=dict)
    """The SAGAPAY_… variables by which any process joins this stack."""
    addresses: dict[str, str] = Field(default_factory=dict)
    processes: dict[str, ProcessState] = Field(default_factory=dict)
    failure: Failure | None = None

    def write(self, home: Path) -> None:
        """Replace stack.json in one step."""
        write_atomically(state_file(home), self.model_dump_json(indent=2) + "\n")


def state_file(home: Path) -> Path:
    """Where the state is."""
    return home / "stack.json"


def read_state(home: Path) -> StackState | None:
    """The last state written, of a running stack or a dead one; None where there is none."""
    try:
        return StackState.model_validate_json(state_file(home).read_bytes())
    except (OSError, ValidationError):
        return None


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """Hold the state directory. Raises AlreadyRunning."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a+") as lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise AlreadyRunning
            time.sleep(0.02)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        lock.truncate(0)


def holder(home: Path) -> int | None:
    """The process id of the supervisor that holds the state directory now, or None."""
    if _holder_at_once(home) is None:
        return None
    time.sleep(LOCK_SECONDS / 10)  # It may have been another question, which is over by now.
    return _holder_at_once(home)


def _holder_at_once(home: Path) -> int | None:
    try:
        with (home / LOCK).open() as lock:
            return None if _try_lock(lock) else int(lock.read() or 0) or None
    except FileNotFoundError:
        return None


def _try_lock(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_alive(pid: int) -> bool:
    """Whether the process still runs; a zombie that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return True  # No /proc on this system, or it has ended this very moment: the next question tells.
