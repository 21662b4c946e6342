"""How long a stream may be quiet before its consumer asks whether it has missed something."""

from collections.abc import Iterable
from typing import Final

from events.streams import Stream
from infra.role import Backoff

EMBEDDED_SECONDS: Final = 2.0
REAL_SECONDS: Final = 30.0
LONGEST_SECONDS: Final = 300.0


class Patience:
    """Clocks of one consumer's streams. They run only while it listens, so that being slow is not being deaf.

    Asking is cheap for who has missed nothing; each asking that did find something doubles the wait until the next,
    because the answer is the whole stream from there.
    """

    def __init__(self, first_seconds: float) -> None:
        self._first = first_seconds
        self._listened = 0.0
        self._quiet_since: dict[Stream, float] = {}
        self._waits: dict[Stream, Backoff] = {}
        self._limit: dict[Stream, float] = {}

    def listened(self, seconds: float) -> None:
        """The consumer has waited for messages so long."""
        self._listened += seconds

    def heard(self, stream: Stream, *, new: bool) -> None:
        """Something came that is new, or that came before; what comes too early does not count."""
        self._quiet_since[stream] = self._listened
        if new:
            self._waits.pop(stream, None)
            self._limit.pop(stream, None)

    def over(self, streams: Iterable[Stream]) -> list[Stream]:
        """Those of `streams` that have been quiet too long; their clocks begin anew."""
        found = []
        for stream in streams:
            since = self._quiet_since.setdefault(stream, self._listened)
            if self._listened - since >= self._limit.get(stream, self._first):
                self._quiet_since[stream] = self._listened
                found.append(stream)
        return found

    def asked(self, stream: Stream) -> None:
        """It had missed something: the next asking waits longer, until something new comes."""
        wait = self._waits.setdefault(stream, Backoff(2 * self._first, LONGEST_SECONDS))
        self._limit[stream] = wait.next_seconds()
