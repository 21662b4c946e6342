"""Go on as a copy of this process, which has loaded everything already: starting Python anew takes seconds.

Only a process with one thread may fork, or the copy could wait for ever for what another thread held.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

HIGHEST_DESCRIPTOR = 65_536


def has_one_thread() -> bool:
    """Whether forking is safe. Where the system does not tell, it is not."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


def fork_off(work: Callable[[], int], log: Path) -> int:
    """Run `work` in a copy of this process: a session of its own, output to the log. Returns its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _leave_terminal(log)
        code = work()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:  # noqa: BLE001  -- nothing may return into the caller's code a second time
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave_terminal(log: Path) -> None:
    os.setsid()
    for descriptors, path, flags in (
        ((0,), os.devnull, os.O_RDONLY),
        ((1, 2), str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT),
    ):
        opened = os.open(path, flags, 0o644)
        for descriptor in descriptors:
            os.dup2(opened, descriptor)
        os.close(opened)


def forget_the_parent() -> None:
    """Drop what belongs to the supervisor: its signal handlers, its lock, its pipes.

    The lock's and pipes' objects stay in frames to which this copy never returns.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.closerange(3, HIGHEST_DESCRIPTOR)


class Forked:
    """A forked child with the part of Popen's interface that `Child` uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""
        if self._code is None:
            self._collect(os.WNOHANG)
        return self._code

    def wait(self) -> int | None:
        """Wait for its end."""
        if self._code is None:
            self._collect(0)
        return self._code

    def _collect(self, options: int) -> None:
        pid, status = os.waitpid(self.pid, options)
        if pid:
            self._code = os.waitstatus_to_exitcode(status)

    def send_signal(self, number: int) -> None:
        """Unless it has ended, in which case its number may be another's."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it now."""
        self.send_signal(signal.SIGKILL)
