"""The consumer behind notifications: stores what is to be sent, in the commit of its positions.

It sends nothing itself. So a channel that is down, or slow, is no affair of its: see events/notification_sender.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import TRANSACTIONS_TOPIC, WALLETS_TOPIC, Envelope
from domain.ids import UserId, WalletId
from domain.notifications import ChannelName, NotificationKind
from events import metrics
from events.notification_channels import Channel, Message, Recipient
from events.notification_messages import row_of, store
from events.notification_preferences import stored
from events.notification_texts import Notice, notices_of

TYPES: Final = frozenset(
    {
        "transaction.completed",
        "transaction.failed",
        "transaction.returned",
        "wallet.frozen",
        "wallet.unfrozen",
        "wallet.limited",
        "wallet.closed",
    }
)

_RECIPIENTS: Final = text("""
    SELECT u.wallet_id, u.user_id, u.name, u.email, coalesce(p.unwanted, '{}') AS unwanted
    FROM directory.users u LEFT JOIN notifications.preferences p USING (user_id)
    WHERE u.wallet_id = ANY(:wallet_ids)
""")


@dataclass(frozen=True, slots=True)
class _Person:
    recipient: Recipient
    unwanted: frozenset[str]

    def wants(self, kind: NotificationKind, channel: ChannelName) -> bool:
        return stored((kind, channel)) not in self.unwanted


class Notifications:
    """Writes a message for each person, kind and channel that is on and wanted. Without a channel it wants no event."""

    name = "notifications"
    topics = frozenset({TRANSACTIONS_TOPIC, WALLETS_TOPIC})

    def __init__(self, channels: Sequence[Channel], give_up_seconds: float) -> None:
        """What an event older than `give_up_seconds` has to tell is not sent any more, so it is not stored either."""
        self._channels = channels
        self._give_up_seconds = give_up_seconds
        self.types = TYPES if channels else frozenset[str]()

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope]) -> None:
        """Store what these events mean to people, in the caller's database transaction; what is there stays."""
        told = [(envelope, notice) for envelope in envelopes for notice in notices_of(envelope.data)]
        people = await _people(connection, {notice.wallet_id for _, notice in told})
        rows = [row for envelope, notice in told for row in self._rows(envelope, notice, people)]
        if not rows:
            return
        for kind, channel in await store(connection, rows, self._give_up_seconds):
            metrics.NOTIFICATIONS_STORED.labels(channel, kind).inc()

    def _rows(
        self, envelope: Envelope, notice: Notice, people: Mapping[WalletId, _Person]
    ) -> Iterable[dict[str, object]]:
        person = people.get(notice.wallet_id)
        if person is None:
            return
        for channel in self._channels:
            address = channel.address_of(person.recipient)
            if address is None or not person.wants(notice.kind, channel.name):
                continue
            message = Message(
                event_id=envelope.id,
                kind=notice.kind,
                address=address,
                subject=notice.subject,
                body=notice.body_for(person.recipient.name),
                event_time=envelope.time,
            )
            yield row_of(channel.name, person.recipient.user_id, message)


async def _people(connection: AsyncConnection, wallet_ids: Iterable[WalletId]) -> dict[WalletId, _Person]:
    """The owners of these wallets who are known."""
    wanted = [wallet_id.uuid for wallet_id in wallet_ids]
    if not wanted:
        return {}
    return {
        WalletId.of(row.wallet_id): _Person(
            Recipient(user_id=UserId.of(row.user_id), name=row.name, email=row.email), frozenset(row.unwanted)
        )
        for row in await connection.execute(_RECIPIENTS, {"wallet_ids": wanted})
    }
