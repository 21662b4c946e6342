"""What a relay decides about one stream: where to begin, how much it may send, when to send again. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence

from events.outbox import Confirmation, Published
from events.streams import START, Position
from infra.kafka import Broker

BATCH = 500
"""Events of one stream read at once."""


class Track:
    """How far a stream is published to one broker, and what of that the consumers have not confirmed.

    `max_ahead` bounds the latter where the broker cannot hold more; None for a real Kafka.
    """

    def __init__(self, position: Position, max_ahead: int | None) -> None:
        self.position = position
        self._max_ahead = max_ahead
        self._ahead: deque[Position] = deque()
        self._bounded = False

    @property
    def ahead(self) -> int:
        """Events published and not confirmed; 0 where nobody has to confirm or nothing is bounded."""
        return len(self._ahead)

    @property
    def room(self) -> int:
        """How many events may be published now."""
        if self._max_ahead is None or not self._bounded:
            return BATCH
        return max(0, min(BATCH, self._max_ahead - len(self._ahead)))

    def delivered(self, positions: Sequence[Position]) -> None:
        """The broker has these, in order, after all before."""
        assert positions[0] > self.position, "a stream is published in order"
        assert list(positions) == sorted(positions), "a stream is published in order"
        self.position = positions[-1]
        if self._max_ahead is not None and self._bounded:
            self._ahead.extend(positions)

    def confirmed(self, confirmations: Sequence[Confirmation]) -> Position | None:
        """Take note of where the consumers are. Returns where to publish from again, if somebody missed something."""
        self._bounded = bool(confirmations)
        missing = lowest(found for found in confirmations if found.missing)
        if missing is not None and missing < self.position:
            self.position = missing
            self._ahead.clear()
            return missing
        slowest = lowest(confirmations)
        while self._ahead and (slowest is None or self._ahead[0] <= slowest):
            self._ahead.popleft()
        return None


def lowest(confirmations: Iterable[Confirmation]) -> Position | None:
    """Where the slowest consumer is, None without any."""
    return min((found.position for found in confirmations), default=None)


def starting_position(published: Published | None, slowest: Position | None, broker: Broker) -> Position:
    """Where a relay begins on a broker that it has just met.

    The same real broker still has what it was given. Any other begins with what the slowest consumer lacks; so does an
    embedded one always, because what it was given and has dropped, nobody knows.
    """
    if slowest is None:
        return published.position if published else START
    if published and not broker.embedded and published.broker_id == broker.broker_id:
        return published.position
    return slowest
