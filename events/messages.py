"""A Kafka message of ours: JSON of domain.events.Envelope, and headers that say enough to skip one unread.

`previous` names the event before this one in its stream. The reader who is not at least there has missed something,
so that even a broker that drops messages in the middle is noticed.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from confluent_kafka import Message
from pydantic import ValidationError

from domain.events import ENVELOPE_VERSION, Envelope
from domain.ids import EventId
from events.streams import Position, Stream


class EventUnreadable(Exception):
    """A message of ours cannot be read by this version. It is put aside until one can."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A row of the outbox as the relay reads it. `data` is JSON text."""

    stream: Stream
    position: Position
    event_id: UUID
    key: str
    type: str
    data: str
    created_at: datetime
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way to a broker."""

    stream: Stream
    position: Position
    key: bytes
    value: bytes
    headers: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as a consumer gets it; the value is read only if it is new and wanted."""

    stream: Stream
    position: Position
    previous: Position
    type: str
    value: bytes

    def envelope(self) -> Envelope:
        """The event. Raises EventUnreadable."""
        try:
            return Envelope.model_validate_json(self.value)
        except ValidationError as error:
            raise EventUnreadable(f"{self.type} at {self.position} of {self.stream}: {error}") from error


def outgoing(row: OutboxRow, previous: Position) -> Outgoing:
    """The message that tells of a row; `previous` is the event before it in its stream."""
    event_id, position = EventId.of(row.event_id), str(row.position)
    value = {
        "id": event_id,
        "type": row.type,
        "version": ENVELOPE_VERSION,
        "time": row.created_at,
        "shard": row.stream.shard,
        "key": row.key,
        "position": position,
        "trace": row.trace,
        "data": orjson.Fragment(row.data),
    }
    headers = {
        "id": event_id,
        "type": row.type,
        "shard": str(row.stream.shard),
        "position": position,
        "previous": str(previous),
        **({"traceparent": row.trace} if row.trace else {}),
    }
    return Outgoing(
        stream=row.stream,
        position=row.position,
        key=row.key.encode(),
        value=orjson.dumps(value),
        headers={name: text.encode() for name, text in headers.items()},
    )


def incoming(message: Message) -> Incoming | None:
    """A message with our headers, or None for one that somebody else wrote to the topic."""
    headers = {name: value for name, value in dict(message.headers() or ()).items() if isinstance(value, bytes)}
    topic, lane, value = message.topic(), message.partition(), message.value()
    if topic is None or lane is None or not isinstance(value, bytes):
        return None
    try:
        return Incoming(
            stream=Stream(int(headers["shard"]), topic, lane),
            position=Position.parse(headers["position"].decode()),
            previous=Position.parse(headers["previous"].decode()),
            type=headers["type"].decode(),
            value=value,
        )
    except (KeyError, ValueError):
        return None
