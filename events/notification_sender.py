"""Senders: what is stored goes out over its channel and is marked. Beside the consumers, and no affair of theirs.

A crash between sending and marking sends again, under the same id: at least once.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import LedgerUnavailable
from domain.notifications import ChannelName
from events import metrics
from events.notification_channels import Channel, ChannelDown, Message, NotTaken, Refused, Session
from events.notification_email import EmailChannel
from events.notification_messages import Messages
from infra.role import Backoff, Life
from infra.settings import Settings

BATCH: Final = 10
IDLE_SECONDS: Final = 0.5
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
LONGEST_RETRY_SECONDS: Final = 3600.0
KEEP_SECONDS: Final = 5.0
KEEP_BATCH: Final = 1000
_REASON_LENGTH: Final = 500

log = structlog.get_logger(__name__)


def open_channels(settings: Settings) -> list[Channel]:
    """The channels that these settings turn on. Raises SettingsInvalid."""
    return [EmailChannel(settings)] if settings.smtp_host is not None else []


class Sender:
    """Sends over one channel, one message at a time. Any number of them may run, in any number of processes."""

    def __init__(self, channel: Channel, messages: Messages, settings: Settings, life: Life) -> None:
        self._channel = channel
        self._messages = messages
        self._retry_seconds = settings.notification_retry_seconds
        self._life = life
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        # Longer than a whole batch can take: what a sender that lives has taken, no other takes.
        self._lease_seconds = (BATCH + 2) * channel.message_seconds

    async def run(self) -> None:
        """Until the role is asked to end."""
        while not self._life.stopping:
            try:
                pause = 0.0 if await self.send_due() else IDLE_SECONDS
            except (ChannelDown, LedgerUnavailable) as error:
                pause = self._backoff.next_seconds()
                log.warning("notifications.wait", channel=self._channel.name, reason=str(error), seconds=pause)
            if pause:
                await self._life.pause(pause)

    async def send_due(self) -> int:
        """Send a few messages that are due; how many there were. Raises ChannelDown and LedgerUnavailable.

        When the channel goes down, what was not tried is due at once, and has not come closer to its end.
        """
        name = self._channel.name
        waiting = deque(await self._messages.take(name, BATCH, self._lease_seconds))
        if not (found := len(waiting)):
            return 0
        reason = None
        try:
            async with self._channel.session() as session:
                while waiting and not self._life.stopping:
                    await self._send(session, waiting.popleft())
        except ChannelDown as down:
            reason = str(down)[:_REASON_LENGTH]
            raise
        finally:
            await self._messages.put_back(name, waiting, reason)
        return found

    async def _send(self, session: Session, message: Message) -> None:
        """Try one message and mark what came of it. Raises ChannelDown where the session is of no use any more."""
        name = self._channel.name
        try:
            await session.send(message)
        except Refused as refused:
            reason = _without(message, str(refused))
            await self._messages.refused(name, message, reason)
            metrics.NOTIFICATIONS_SETTLED.labels(name, "given_up").inc()
            log.warning("notification.given_up", channel=name, event_id=message.event_id, reason=reason)
        except NotTaken as not_taken:
            reason = _without(message, str(not_taken))
            await self._try_later(message, reason)
            if not_taken.broken:
                raise ChannelDown(reason) from not_taken
        except Exception as error:
            # One message that an adapter stumbles over must not end the role.
            log.exception("notification.failed", channel=name, event_id=message.event_id)
            await self._try_later(message, _without(message, f"{type(error).__name__}: {error}"))
        else:
            await self._messages.sent(name, message)
            metrics.NOTIFICATIONS_SETTLED.labels(name, "sent").inc()
            self._backoff.reset()

    async def _try_later(self, message: Message, reason: str) -> None:
        await self._messages.later(
            self._channel.name,
            message,
            reason,
            first_seconds=self._retry_seconds,
            longest_seconds=LONGEST_RETRY_SECONDS,
        )
        metrics.NOTIFICATIONS_NOT_TAKEN.labels(self._channel.name).inc()


class Keeper:
    """Gives up what is too old, forgets what was settled long ago, and says how far behind the channels are."""

    def __init__(self, messages: Messages, settings: Settings, life: Life) -> None:
        self._messages = messages
        self._keep_days = settings.notification_keep_days
        self._life = life

    async def run(self) -> None:
        """Until the role is asked to end."""
        while not self._life.stopping:
            try:
                await self.keep()
            except LedgerUnavailable as error:
                log.warning("notifications.keeper_waits", reason=str(error))
            await self._life.pause(KEEP_SECONDS)

    async def keep(self) -> None:
        """Once, of every channel: what waits for one that was turned off is given up in its time, too."""
        for channel in ChannelName:
            while given_up := await self._messages.give_up(channel, KEEP_BATCH):
                metrics.NOTIFICATIONS_SETTLED.labels(channel, "given_up").inc(given_up)
                log.warning("notifications.given_up", channel=channel, count=given_up, reason="not sent in time")
            metrics.NOTIFICATIONS_OLDEST.labels(channel).set(await self._messages.oldest_seconds(channel))
        while await self._messages.forget(self._keep_days, KEEP_BATCH) and not self._life.stopping:
            pass


def senders(channels: Sequence[Channel], engine: AsyncEngine, settings: Settings, life: Life) -> list[Sender | Keeper]:
    """All that has to run beside the consumer."""
    messages = Messages(engine, settings.notification_give_up_seconds)
    each = [channel for channel in channels for _ in range(settings.notification_senders)]
    return [*(Sender(channel, messages, settings, life) for channel in each), Keeper(messages, settings, life)]


def _without(message: Message, reason: str) -> str:
    """A reason that can be logged: servers like to repeat the address."""
    return reason.replace(message.address, "…")[:_REASON_LENGTH]
