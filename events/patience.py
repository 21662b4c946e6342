"""How long a stream may be quiet before its consumer asks whether it has missed something."""

from collections.abc import Iterable
from typing import Final

from events.streams import Stream
from infra.role import Backoff

EMBEDDED_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 300.0


class Patience:
    """Clocks of one consumer's streams. They run only while it listens, so that being slow is not being deaf.

    What was published a moment ago is on its way: a stream that is quiet though it is behind becomes suspect, and is
    asked for when it stays quiet as long again. Each asking doubles the wait until the next, because the answer is the
    whole stream from there.
    """

    def __init__(self, first_seconds: float) -> None:
        self._first = first_seconds
        self._listened = 0.0
        self._quiet_since: dict[Stream, float] = {}
        self._waits: dict[Stream, Backoff] = {}
        self._limit: dict[Stream, float] = {}
        self._suspect: set[Stream] = set()

    def listened(self, seconds: float) -> None:
        """The consumer has waited for messages so long."""
        self._listened += seconds

    def heard(self, stream: Stream, *, new: bool) -> None:
        """Something came that is new, or that came before; what comes too early does not count."""
        self._quiet_since[stream] = self._listened
        self._suspect.discard(stream)
        if new:
            self._waits.pop(stream, None)
            self._limit.pop(stream, None)

    def quiet(self, streams: Iterable[Stream]) -> list[Stream]:
        """Those of `streams` that have been quiet too long; their clocks begin anew."""
        found = []
        for stream in streams:
            since = self._quiet_since.setdefault(stream, self._listened)
            if self._listened - since >= self._limit.get(stream, self._first):
                self._quiet_since[stream] = self._listened
                found.append(stream)
        return found

    def lost(self, behind: Iterable[Stream]) -> list[Stream]:
        """Those of the quiet streams now known to be behind that were suspect already: what they lack is lost."""
        found = []
        for stream in behind:
            if stream in self._suspect:
                self._suspect.discard(stream)
                wait = self._waits.setdefault(stream, Backoff(2 * self._first, LONGEST_SECONDS))
                self._limit[stream] = wait.next_seconds()
                found.append(stream)
            else:
                self._suspect.add(stream)
        return found
