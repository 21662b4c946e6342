"""What a killed supervisor may have left for a moment: wait for it, then end it, before ports are looked at.

Its children carry a mark in their environment, which tells them from strangers that have the same number by now.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from infra.local.postgres import POSTGRES_DATA, processes_in
from infra.local.state import is_alive

PATIENCE_SECONDS = 5.0
KILL_SECONDS = 5.0
MARK = "SAGAPAY_STACK"
"""Set by the supervisor for all its children; the value is the state directory."""


def processes_of(home: Path) -> Iterator[int]:
    """Living processes of the stack in this state directory, without this one. Empty where there is no /proc."""
    yield from processes_in(home / POSTGRES_DATA)  # PostgreSQL writes over its environment.
    mark = f"{MARK}={home}".encode()
    with suppress(FileNotFoundError):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0") and is_alive(int(entry.name)):
                        yield int(entry.name)


def end_leftovers(home: Path, recorded: list[int]) -> None:
    """Wait until the processes of an earlier supervisor have ended; end those that do not and are surely its own."""
    _wait({*recorded, *processes_of(home)}, PATIENCE_SECONDS)
    stubborn = set(processes_of(home))
    for pid in stubborn:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # By their numbers: a dying process has no environment any more while it still holds its port.
    _wait(stubborn, KILL_SECONDS)


def _wait(pids: set[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
