"""Streams and positions: what is in order, and how far somebody is.

A stream is the events of one topic and lane on one shard. Its order is that of (transaction id, row id) in the outbox,
read below every transaction still open, so no late commit can slip under a position.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, Self

from domain.events import DEAD_LETTERS_TOPIC, ENTRIES_TOPIC, HOLDS_TOPIC, LANES, TRANSACTIONS_TOPIC, WALLETS_TOPIC

TOPICS: Final = (TRANSACTIONS_TOPIC, ENTRIES_TOPIC, HOLDS_TOPIC, WALLETS_TOPIC, DEAD_LETTERS_TOPIC)


class Position(NamedTuple):
    """A place in a stream: the row's transaction id (xid8) and its id. They compare as the database compares them."""

    xid: int
    id: int

    def __str__(self) -> str:
        return f"{self.xid}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote. Raises ValueError."""
        xid, _, row_id = text.partition("/")
        return cls(int(xid), int(row_id))


START: Final = Position(0, 0)
"""Before the first event of any stream."""


class Stream(NamedTuple):
    """A topic's lane on one shard; the lane is the Kafka partition."""

    shard: int
    topic: str
    lane: int


def streams_of(topics: Iterable[str], shard: int, lanes: Iterable[int] = range(LANES)) -> tuple[Stream, ...]:
    """The streams of these topics on a shard."""
    return tuple(Stream(shard, topic, lane) for topic in sorted(topics) for lane in sorted(lanes))
