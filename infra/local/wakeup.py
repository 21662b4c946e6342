"""Sleep that ends early when a child ends or a person wants to stop."""

import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wakeup:
    """While entered: SIGINT, SIGTERM and SIGHUP set `stop_wanted` and, like SIGCHLD, end a `wait` at once."""

    def __init__(self) -> None:
        self.stop_wanted = False
        self._reader, self._writer = socket.socketpair()

    def __enter__(self) -> Self:
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, self._stop) for number in STOP_SIGNALS}
        # Without a handler of its own SIGCHLD would not reach the wake-up descriptor.
        self._old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        self._reader.close()
        self._writer.close()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop_wanted = True

    def wait(self, seconds: float) -> None:
        """Sleep, or less when a signal arrives or has arrived since the last wait."""
        if select.select([self._reader], [], [], seconds)[0]:
            self._reader.recv(4096)
