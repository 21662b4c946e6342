"""Go on in the background: a forked process in a session of its own, writing to a log.

A fork, because starting Python and importing everything anew takes longer than the servers do. The process has one
thread when it forks, so nothing can be held by another.
"""

import os
import traceback
from collections.abc import Callable
from pathlib import Path


def in_background(work: Callable[[], int], log: Path) -> int:
    """Run `work` in a process that outlives this one. Returns its process id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _leave_terminal(log)
        code = work()
    except BaseException:  # noqa: BLE001  -- nothing may return into the caller's code twice
        traceback.print_exc()
    finally:
        os._exit(code)


def _leave_terminal(log: Path) -> None:
    os.setsid()
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        (2, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT),
    ):
        opened = os.open(path, flags, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)


def has_ended(pid: int) -> bool:
    """Whether a child of this process has ended; it is collected, so ask no more afterwards than you need."""
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return True
