"""The port of what notifications go over: e-mail, push, SMS. One class a channel; the settings say which there are.

Only e-mail is built (events/notification_email.py). An adapter of push or SMS says in `address_of` where it finds its
people, and is opened in `open_channels` (events/notification_sender.py).
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from domain.ids import EventId, UserId
from domain.notifications import ChannelName, NotificationKind


class ChannelDown(Exception):
    """The channel takes nothing at the moment; nothing was sent."""


class NotTaken(Exception):
    """The channel did not take this message now, or did not say that it has. It may, another time.

    `broken` says that the session is of no use any more.
    """

    def __init__(self, reason: str, *, broken: bool = False) -> None:
        self.broken = broken
        super().__init__(reason)


class Refused(Exception):
    """The channel will never take this message: its address is malformed or unknown, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Who is told."""

    user_id: UserId
    name: str = field(repr=False)
    email: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be sent, the same at every attempt; plain text. `event_time` is when it was told to the outbox."""

    event_id: EventId
    kind: NotificationKind
    address: str = field(repr=False)
    subject: str = field(repr=False)
    body: str = field(repr=False)
    event_time: datetime


class Session(Protocol):
    """A way to the channel that stands."""

    async def send(self, message: Message) -> None:
        """Hand over one message; returns when the channel has taken it. Raises NotTaken and Refused.

        A message may come again after a crash, with the same event and kind: say so to the channel if it can know
        one again. Ends by itself after a time.
        """
        ...


class Channel(Protocol):
    """One way to reach people."""

    @property
    def name(self) -> ChannelName:
        """Which one."""
        ...

    @property
    def message_seconds(self) -> float:
        """The longest that opening a session may take, and sending a message."""
        ...

    def address_of(self, recipient: Recipient) -> str | None:
        """Where the channel reaches them; None if it does not."""
        ...

    def session(self) -> AbstractAsyncContextManager[Session]:
        """Open the way for a few messages. Raises ChannelDown."""
        ...
