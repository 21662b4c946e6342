"""What is to be sent: stored in the consumer's commit, taken by a sender for a time, settled once.

Nothing here keeps a database transaction open while something is sent: one that has written would hold up the relay,
which reads below every transaction that is open.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.ids import EventId, UserId
from domain.notifications import ChannelName, NotificationKind
from events.notification_channels import Message
from infra.database import reading, transaction

_STORE: Final = text("""
    INSERT INTO notifications.messages
        (event_id, kind, channel, user_id, address, subject, body, event_time)
    SELECT n.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(
        event_id uuid, kind text, channel text, user_id uuid, address text, subject text, body text,
        event_time timestamptz)
    WHERE n.event_time > now() - make_interval(secs => :give_up_seconds)
    ORDER BY n.event_id, n.kind, n.channel
    ON CONFLICT DO NOTHING
    RETURNING kind, channel
""")

_TAKE: Final = text("""
    UPDATE notifications.messages m
    SET due_at = now() + make_interval(secs => :lease_seconds)
    FROM (SELECT event_id, kind, channel FROM notifications.messages
          WHERE channel = :channel AND status = 'waiting' AND due_at <= now()
                AND event_time > now() - make_interval(secs => :give_up_seconds)
          ORDER BY due_at LIMIT :most FOR UPDATE SKIP LOCKED) AS due
    WHERE (m.event_id, m.kind, m.channel) = (due.event_id, due.kind, due.channel)
    RETURNING m.event_id, m.kind, m.address, m.subject, m.body, m.event_time
""")

_SENT: Final = text("""
    UPDATE notifications.messages SET status = 'sent', settled_at = now(), attempts = attempts + 1, reason = NULL
    WHERE event_id = :event_id AND kind = :kind AND channel = :channel
""")

_REFUSED: Final = text("""
    UPDATE notifications.messages
    SET status = 'given_up', settled_at = now(), attempts = attempts + 1, reason = :reason
    WHERE event_id = :event_id AND kind = :kind AND channel = :channel AND status = 'waiting'
""")

_LATER: Final = text("""
    UPDATE notifications.messages
    SET due_at = now() + make_interval(secs => least(:first_seconds * power(2, least(attempts, 30)), :longest_seconds)),
        attempts = attempts + 1, reason = :reason
    WHERE event_id = :event_id AND kind = :kind AND channel = :channel AND status = 'waiting'
""")

_PUT_BACK: Final = text("""
    UPDATE notifications.messages m SET due_at = now(), reason = coalesce(:reason, m.reason)
    FROM unnest(CAST(:event_ids AS uuid[]), CAST(:kinds AS text[])) AS back(event_id, kind)
    WHERE m.event_id = back.event_id AND m.kind = back.kind AND m.channel = :channel AND m.status = 'waiting'
""")

_GIVE_UP: Final = text("""
    UPDATE notifications.messages
    SET status = 'given_up', settled_at = now(),
        reason = coalesce('not sent in time: ' || reason, 'not sent in time: it was not tried')
    WHERE (event_id, kind, channel) IN (
        SELECT event_id, kind, channel FROM notifications.messages
        WHERE channel = :channel AND status = 'waiting'
              AND event_time <= now() - make_interval(secs => :give_up_seconds)
        ORDER BY event_time LIMIT :most FOR UPDATE SKIP LOCKED)
""")

_FORGET: Final = text("""
    DELETE FROM notifications.messages WHERE (event_id, kind, channel) IN (
        SELECT event_id, kind, channel FROM notifications.messages
        WHERE settled_at < now() - make_interval(days => :keep_days)
        ORDER BY settled_at LIMIT :most FOR UPDATE SKIP LOCKED)
""")

_OLDEST: Final = text("""
    SELECT coalesce(extract(epoch FROM now() - min(event_time)), 0) FROM notifications.messages
    WHERE channel = :channel AND status = 'waiting'
""")


class Messages:
    """The table of what is to be sent. Every method raises LedgerUnavailable."""

    def __init__(self, engine: AsyncEngine, give_up_seconds: float) -> None:
        """An event older than `give_up_seconds` has nothing to tell any more."""
        self._engine = engine
        self._give_up_seconds = give_up_seconds

    async def take(self, channel: ChannelName, most: int, lease_seconds: float) -> list[Message]:
        """What is due, oldest first; nobody else gets it until the lease is over."""
        parameters = {
            "channel": channel,
            "most": most,
            "lease_seconds": lease_seconds,
            "give_up_seconds": self._give_up_seconds,
        }
        async with transaction(self._engine) as connection:
            rows = list(await connection.execute(_TAKE, parameters))
        return [
            Message(
                event_id=EventId.of(row.event_id),
                kind=NotificationKind(row.kind),
                address=row.address,
                subject=row.subject,
                body=row.body,
                event_time=row.event_time,
            )
            for row in sorted(rows, key=lambda row: row.event_time)
        ]

    async def sent(self, channel: ChannelName, message: Message) -> None:
        """The channel has it."""
        async with transaction(self._engine) as connection:
            await connection.execute(_SENT, _key(channel, message))

    async def refused(self, channel: ChannelName, message: Message, reason: str) -> None:
        """It never will: given up."""
        async with transaction(self._engine) as connection:
            await connection.execute(_REFUSED, {**_key(channel, message), "reason": reason})

    async def later(
        self, channel: ChannelName, message: Message, reason: str, *, first_seconds: float, longest_seconds: float
    ) -> None:
        """It is due again after `first_seconds`, twice as long with each attempt, at most `longest_seconds`."""
        waits = {"first_seconds": first_seconds, "longest_seconds": longest_seconds}
        async with transaction(self._engine) as connection:
            await connection.execute(_LATER, {**_key(channel, message), **waits, "reason": reason})

    async def put_back(self, channel: ChannelName, messages: Collection[Message], reason: str | None = None) -> None:
        """Not tried after all: due at once, to whoever comes next."""
        if not messages:
            return
        parameters = {
            "event_ids": [message.event_id.uuid for message in messages],
            "kinds": [message.kind for message in messages],
            "channel": channel,
            "reason": reason,
        }
        async with transaction(self._engine) as connection:
            await connection.execute(_PUT_BACK, parameters)

    async def give_up(self, channel: ChannelName, most: int) -> int:
        """Settle up to `most` of a channel's messages whose time is over; how many."""
        parameters = {"channel": channel, "most": most, "give_up_seconds": self._give_up_seconds}
        async with transaction(self._engine) as connection:
            return (await connection.execute(_GIVE_UP, parameters)).rowcount

    async def forget(self, keep_days: int, most: int) -> int:
        """Delete up to `most` messages that were settled longer ago than that; how many."""
        async with transaction(self._engine) as connection:
            return (await connection.execute(_FORGET, {"keep_days": keep_days, "most": most})).rowcount

    async def oldest_seconds(self, channel: ChannelName) -> int:
        """The age of the oldest event that waits for a channel; 0 where nothing waits."""
        async with reading(self._engine) as connection:
            return int(await connection.scalar(_OLDEST, {"channel": channel}) or 0)


async def store(
    connection: AsyncConnection, rows: Iterable[Mapping[str, object]], give_up_seconds: float
) -> list[tuple[str, str]]:
    """Store what is to be sent, in the caller's database transaction; kind and channel of what was not there."""
    parameters = {"rows": orjson.dumps(list(rows)).decode(), "give_up_seconds": give_up_seconds}
    return [(row.kind, row.channel) for row in await connection.execute(_STORE, parameters)]


def row_of(channel: ChannelName, user_id: UserId, message: Message) -> dict[str, object]:
    """A message as it is stored."""
    return {
        "event_id": message.event_id.uuid,
        "kind": message.kind,
        "channel": channel,
        "user_id": user_id.uuid,
        "address": message.address,
        "subject": message.subject,
        "body": message.body,
        "event_time": message.event_time,
    }


def _key(channel: ChannelName, message: Message) -> dict[str, object]:
    return {"event_id": message.event_id.uuid, "kind": message.kind, "channel": channel}
