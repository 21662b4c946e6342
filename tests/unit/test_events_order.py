"""Positions, gaps and bounds: the decisions of relay and consumer, without a broker."""

from collections.abc import Sequence

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from domain.events import LANES, TRANSACTIONS_TOPIC, Envelope
from domain.ids import EventId
from events.confirmations import new_events
from events.messages import EventUnreadable, Incoming, OutboxRow, incoming
from events.outbox import Confirmation, Published
from events.patience import Patience
from events.relay import chained
from events.streams import START, Position, Stream, streams_of
from events.tracks import BATCH, Track, starting_position
from infra.kafka import Broker
from tests.events.outbox_rows import transaction_event

STREAM = Stream(0, TRANSACTIONS_TOPIC, 2)
KAFKA = Broker("kafka:9092", "cluster-1", embedded=False)
EMBEDDED = Broker("127.0.0.1:9", "b-1", embedded=True)

positions = st.builds(Position, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))


@given(positions)
def test_a_position_is_read_as_it_was_written(position: Position) -> None:
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize("text", ["", "1", "1/", "a/b", "1/2/3"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Position.parse(text)


def arriving(chain: Sequence[Position], first: int, last: int) -> list[Incoming]:
    """The messages of chain[first:last], each naming the one before it in the stream."""
    previous = [START, *chain]
    return [Incoming(STREAM, chain[i], previous[i], "transaction.completed", b"") for i in range(first, last)]


@given(st.data())
def test_however_a_broker_drops_and_repeats_each_event_is_new_once_and_in_order(data: st.DataObject) -> None:
    chain = sorted(data.draw(st.sets(positions.filter(lambda position: position > START), min_size=1, max_size=30)))
    at, seen = START, list[Position]()
    for _ in range(data.draw(st.integers(1, 8))):
        first = data.draw(st.integers(0, len(chain)))
        sent = arriving(chain, first, data.draw(st.integers(first, len(chain))))
        kept = [event for event in sent if data.draw(st.booleans())]
        news = new_events(kept, at)
        assert len(news.fresh) + news.again + news.early == len(kept)
        seen += [event.position for event in news.fresh]
        at = news.position
        assert seen == chain[: len(seen)], "without a gap, without a repetition"
        assert at == (seen[-1] if seen else START)
    resent = arriving(chain, len(seen), len(chain))
    assert [event.position for event in new_events(resent, at).fresh] == chain[len(seen) :]


def test_a_message_says_what_the_outbox_said() -> None:
    row = transaction_event()
    after = Position(7, 1)
    told = [
        OutboxRow(
            stream=STREAM,
            position=Position(8, n),
            event_id=EventId.new(5).uuid,
            key=row.key,
            type="transaction.completed",
            data=row.event.model_dump_json(),
            created_at=row.event.model_dump()["timestamp"],
        )
        for n in (2, 3)
    ]
    first, second = chained(told, after)
    assert (first.headers["previous"], second.headers["previous"]) == (b"7/1", b"8/2")
    envelope = Envelope.model_validate_json(second.value)
    assert envelope.data == row.event
    assert (envelope.position, envelope.shard, envelope.key) == ("8/3", 0, row.key)
    assert envelope.id == EventId.of(told[1].event_id)
    back = incoming(_delivered(second.value, second.headers))
    assert back == Incoming(STREAM, Position(8, 3), Position(8, 2), "transaction.completed", second.value)
    assert back is not None
    assert back.envelope() == envelope


def _delivered(value: bytes, headers: dict[str, bytes]) -> Message:
    return Message(topic=STREAM.topic, partition=STREAM.lane, value=value, headers=list(headers.items()))


def test_a_message_of_somebody_else_is_not_ours() -> None:
    assert incoming(_delivered(b"hello", {})) is None
    assert incoming(_delivered(b"hello", {"position": b"x", "previous": b"0/0", "shard": b"0", "type": b"t"})) is None


def test_what_this_version_cannot_read_is_an_error_and_not_skipped() -> None:
    headers = {"position": b"1/1", "previous": b"0/0", "shard": b"0", "type": b"transaction.completed"}
    ours = incoming(_delivered(b'{"id": "evt_1"}', headers))
    assert ours is not None
    with pytest.raises(EventUnreadable):
        ours.envelope()


def test_streams_cover_every_lane_of_a_topic() -> None:
    assert [stream.lane for stream in streams_of((TRANSACTIONS_TOPIC,), 0)] == list(range(LANES))


@pytest.mark.parametrize(
    ("published", "slowest", "broker", "start"),
    [
        (None, None, KAFKA, START),
        (None, Position(3, 3), KAFKA, Position(3, 3)),
        (Published(Position(9, 9), "cluster-1"), None, KAFKA, Position(9, 9)),
        (Published(Position(9, 9), "cluster-1"), Position(3, 3), KAFKA, Position(9, 9)),
        (Published(Position(9, 9), "cluster-0"), Position(3, 3), KAFKA, Position(3, 3)),
        (Published(Position(9, 9), "b-0"), Position(3, 3), EMBEDDED, Position(3, 3)),
        (Published(Position(9, 9), "b-1"), Position(3, 3), EMBEDDED, Position(3, 3)),
    ],
)
def test_where_a_relay_begins(
    published: Published | None, slowest: Position | None, broker: Broker, start: Position
) -> None:
    assert starting_position(published, slowest, broker) == start


def places(*numbers: int) -> list[Position]:
    return [Position(number, 0) for number in numbers]


def at(number: int, *, missing: bool = False) -> Confirmation:
    return Confirmation(Position(number, 0), missing)


def test_a_track_leaves_no_more_unconfirmed_than_the_broker_holds() -> None:
    track = Track(START, max_ahead=5)
    track.confirmed([at(0), at(0)])
    assert track.room == 5
    track.delivered(places(1, 2, 3))
    assert (track.room, track.ahead) == (2, 3)
    track.confirmed([at(2), at(1)])
    assert (track.room, track.ahead) == (3, 2), "the slowest consumer counts"
    track.delivered(places(4, 5, 6))
    assert track.room == 0
    track.confirmed([at(6), at(6)])
    assert (track.room, track.ahead) == (5, 0)


def test_without_consumers_or_on_a_real_kafka_nothing_is_bounded() -> None:
    nobody, kafka = Track(START, max_ahead=5), Track(START, max_ahead=None)
    nobody.confirmed([])
    kafka.confirmed([at(0)])
    for track in (nobody, kafka):
        track.delivered(places(*range(1, 100)))
        assert (track.room, track.ahead) == (BATCH, 0)


def test_a_track_goes_back_to_what_a_consumer_is_missing() -> None:
    track = Track(START, max_ahead=5)
    track.confirmed([at(0)])
    track.delivered(places(1, 2, 3))
    assert track.confirmed([at(3), at(1, missing=True)]) == Position(1, 0)
    assert (track.position, track.ahead) == (Position(1, 0), 0)
    track.delivered(places(2, 3))
    assert track.confirmed([at(3), at(3, missing=True)]) is None, "it has all there is"


def test_a_track_refuses_to_be_out_of_order() -> None:
    track = Track(Position(5, 0), max_ahead=None)
    with pytest.raises(AssertionError):
        track.delivered(places(5))
    with pytest.raises(AssertionError):
        track.delivered(places(7, 6))


def test_patience_runs_only_while_listening() -> None:
    patience = Patience(2.0)
    other = STREAM._replace(lane=3)
    assert patience.quiet([STREAM, other]) == []
    patience.listened(1.9)
    patience.heard(other, new=True)
    assert patience.quiet([STREAM, other]) == []
    patience.listened(0.2)
    assert patience.quiet([STREAM, other]) == [STREAM]
    assert patience.quiet([STREAM, other]) == []


def test_only_what_stays_away_is_lost_and_each_loss_makes_patient() -> None:
    patience = Patience(2.0)
    assert patience.lost([STREAM]) == [], "it may be on its way"
    patience.heard(STREAM, new=False)
    assert patience.lost([STREAM]) == [], "it was"
    assert patience.lost([STREAM]) == [STREAM]
    patience.listened(3)
    assert patience.quiet([STREAM]) == [], "what was asked for takes a while"
    patience.listened(1.5)
    assert patience.quiet([STREAM]) == [STREAM]
    patience.heard(STREAM, new=True)
    patience.listened(2.1)
    assert patience.quiet([STREAM]) == [STREAM], "something new makes it as quick as at first"
