"""What a killed supervisor may have left for a moment: wait for it, then end it, before ports are looked at.

Its children write their output below its logs folder, which tells them from strangers that have their number by now.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from infra.local.state import is_alive

PATIENCE_SECONDS = 5.0
KILL_SECONDS = 5.0
SUPERVISOR_LOG = "supervisor.log"


def processes_of(home: Path) -> Iterator[int]:
    """Living processes of the stack in this state directory but its supervisor. Empty where there is no /proc."""
    logs = home / "logs"
    with suppress(FileNotFoundError):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _writes_into(entry, logs):
                yield int(entry.name)


def _writes_into(process: Path, logs: Path) -> bool:
    try:
        output = (process / "fd/1").readlink()
    except OSError:
        return False  # It has ended, or is somebody else's.
    return output.parent == logs and output.name != SUPERVISOR_LOG


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
