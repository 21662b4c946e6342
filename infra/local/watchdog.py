"""Ends the children of a killed supervisor where the kernel does not: a process that waits for the end of a pipe.

Run by path with `python -I -S`. Lines on standard input: `+PID SIGNAL` remembers, `-PID` forgets. When the last
writer is gone, so is the supervisor: every remembered process gets its signal, and soon after SIGKILL.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

PATIENCE_SECONDS = 3.0


class Watchdog:
    """The supervisor's end: one watchdog process, told of every child."""

    def __init__(self, log: Path | None = None) -> None:
        with Path(log or os.devnull).open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__))],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        assert self._process.stdin
        self._pipe: IO[bytes] = self._process.stdin

    @property
    def descriptor(self) -> int:
        """The pipe's writing end; the launcher announces itself on it before it becomes the program."""
        return self._pipe.fileno()

    @property
    def pid(self) -> int:
        """The watchdog's own process id."""
        return self._process.pid

    def forget(self, pid: int) -> None:
        """This child has ended: its number may soon belong to another process."""
        with suppress(BrokenPipeError):
            os.write(self.descriptor, b"-%d\n" % pid)

    def close(self) -> None:
        """End the watchdog, and with it whatever it still remembers."""
        self._pipe.close()
        self._process.wait(timeout=2 * PATIENCE_SECONDS)


def watch(lines: IO[bytes]) -> None:
    """Follow the lines to their end, then end every process still remembered."""
    remembered: dict[int, int] = {}
    for line in lines:
        words = line[1:].split()
        if line.startswith(b"+"):
            remembered[int(words[0])] = int(words[1])
        else:
            remembered.pop(int(words[0]), None)
    for pid, number in remembered.items():
        _send(pid, number)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(_send(pid, 0) for pid in remembered) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in remembered:
        _send(pid, signal.SIGKILL)


def _send(pid: int, number: int) -> bool:
    """To the process and what it started. Returns whether there was anybody."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watch(sys.stdin.buffer)
