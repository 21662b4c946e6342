"""Consumers: Kafka → effects, once each. The database's position is the truth; Kafka's offsets only save reading.

A consumer applies an event only when it has the one before it, and confirms its position in the commit of the effects.
What comes again is ignored, what comes too early is refused, and what does not come is asked for again.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.errors import BrokerUnavailable, LedgerUnavailable, NotFound
from domain.events import LANES, Envelope
from events import metrics
from events.balances import Balances
from events.confirmations import Confirmations, News, new_events
from events.dead_letters import is_poison, lock, put_aside, reason_of, replayed, still
from events.history import History
from events.history_databases import HistoryDatabases
from events.messages import Incoming, incoming
from events.notification_channels import Channel
from events.notification_sender import open_channels, senders
from events.notifications import Notifications
from events.outbox import published
from events.patience import EMBEDDED_SECONDS, Patience
from events.streams import Position, Stream, streams_of
from events.webhook_sender import WebhookSender
from events.webhooks import Webhooks
from infra.database import make_engine, reading, transaction
from infra.kafka import Broker, consumer_config, find_broker, let_go
from infra.kafka_topics import Terms, ensure_topics
from infra.redis import Cache, make_redis
from infra.role import Backoff, Life, run_role
from infra.settings import Settings

BATCH: Final = 500
POLL_SECONDS: Final = 0.25
GATHER_SECONDS: Final = 0.05
FIRST_RETRY_SECONDS: Final = 0.2
LONGEST_RETRY_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Handler(Protocol):
    """What a consumer does with events. It sees each once, in the order of its stream."""

    @property
    def name(self) -> str:
        """The consumer group, and the key of its positions; never changed."""
        ...

    @property
    def topics(self) -> frozenset[str]:
        """What it reads."""
        ...

    @property
    def types(self) -> frozenset[str]:
        """The types of events it wants; others are confirmed unread."""
        ...

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope]) -> None:
        """Have the effects, in the caller's database transaction."""
        ...


async def tried(
    connection: AsyncConnection, handler: Handler, events: Sequence[Incoming]
) -> list[Envelope] | Exception:
    """The events, which have had their effects; or why they cannot have them, and then nothing of it is there.

    Raises whatever is no fault of the events'.
    """
    try:
        async with connection.begin_nested():
            envelopes = [event.envelope() for event in events]
            await handler.apply(connection, envelopes)
    except Exception as error:
        if not is_poison(error):
            raise
        return error
    return envelopes


class ConsumerLoop:
    """Runs one handler. Outages of the database and of Kafka only delay it."""

    def __init__(self, handler: Handler, settings: Settings, engines: Sequence[AsyncEngine], life: Life) -> None:
        """`engines` lead to the shards, in their order; effects are had on the first."""
        self._handler = handler
        self._settings = settings
        self._engines = engines
        self._engine = engines[0]
        self._life = life
        self._backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        self._confirmations = Confirmations(handler.name)

    async def run(self) -> None:
        """Until the role is asked to end."""
        while not self._life.stopping:
            try:
                await self._register()
                self._life.ready()
                broker = await asyncio.to_thread(find_broker, self._settings)
                terms = Terms(LANES, self._settings.kafka_keep_days)
                await asyncio.to_thread(ensure_topics, broker, self._handler.topics, terms)
                await self._consume(broker)
            except (LedgerUnavailable, BrokerUnavailable, KafkaException) as error:
                pause = self._backoff.next_seconds()
                log.warning("consumer.waits", consumer=self._handler.name, reason=str(error), seconds=pause)
                await self._life.pause(pause)

    async def _register(self) -> None:
        async with transaction(self._engine) as connection:
            for shard in range(len(self._engines)):
                await self._confirmations.register(connection, streams_of(self._handler.topics, shard))

    async def _consume(self, broker: Broker) -> None:
        """Read from one broker until it is replaced, or something goes wrong."""
        consumer = Consumer(consumer_config(broker, self._handler.name))
        patience = Patience(EMBEDDED_SECONDS if broker.embedded else self._settings.consumer_quiet_seconds)
        recheck_seconds = min(broker.recheck_seconds, self._settings.consumer_quiet_seconds)
        looked = time.monotonic()
        try:
            consumer.subscribe(sorted(self._handler.topics))
            while not self._life.stopping:
                began = time.monotonic()
                messages = await asyncio.to_thread(_next_messages, consumer)
                patience.listened(time.monotonic() - began)
                if messages:
                    await self._take(consumer, messages, patience)
                if time.monotonic() - looked > recheck_seconds:
                    looked = time.monotonic()
                    await self._ask_again(consumer, patience)
                    if broker.embedded and find_broker(self._settings) != broker:
                        return
        finally:
            await let_go(self._handler.name, consumer.close)

    async def _take(self, consumer: Consumer, messages: Sequence[Message], patience: Patience) -> None:
        arrived: dict[Stream, list[Incoming]] = {}
        offsets: dict[tuple[str, int], TopicPartition] = {}
        for message in messages:
            if (error := message.error()) is not None:
                log.info("consumer.trouble", consumer=self._handler.name, detail=error.str())
                if error.fatal():
                    raise KafkaException(error)
                continue
            event = incoming(message)
            if event is None:
                log.warning("consumer.foreign_message", topic=message.topic(), offset=message.offset())
            else:
                arrived.setdefault(event.stream, []).append(event)
            place = TopicPartition(message.topic() or "", message.partition() or 0, (message.offset() or 0) + 1)
            offsets[place.topic, place.partition] = place
        for stream, news in (await self.apply(arrived)).items():
            if news.fresh or news.again:
                patience.heard(stream, new=bool(news.fresh))
                self._backoff.reset()
        if offsets:
            await asyncio.to_thread(lambda: consumer.commit(offsets=list(offsets.values()), asynchronous=True))

    async def apply(self, arrived: Mapping[Stream, Sequence[Incoming]]) -> dict[Stream, News]:
        """Have the effects of what is new in each stream, in one commit. Returns what was new.

        What cannot be processed is put aside with the reason, and what is behind it goes on. Raises LedgerUnavailable;
        then there was no effect, or it is found when they come again.
        """
        if not arrived:
            return {}
        async with transaction(self._engine) as connection:
            positions = await self._confirmations.lock(connection, arrived)
            news = {stream: new_events(arrived[stream], position) for stream, position in positions.items()}
            fresh = [event for found in news.values() for event in found.fresh]
            wanted = [event for event in fresh if event.type in self._handler.types]
            envelopes = await self._have_effects(connection, wanted)
            if fresh:
                moved = {stream: found.position for stream, found in news.items() if found.fresh}
                await self._confirmations.confirm(connection, moved)
        self._count(news.values(), envelopes)
        return news

    async def _have_effects(self, connection: AsyncConnection, events: Sequence[Incoming]) -> list[Envelope]:
        """Those that have had their effect: all of them together, or where that fails each by itself."""
        if not events:
            return []
        together = await tried(connection, self._handler, events)
        if not isinstance(together, Exception):
            return together
        return [envelope for event in events for envelope in await self._have_effect(connection, event)]

    async def _have_effect(self, connection: AsyncConnection, event: Incoming) -> list[Envelope]:
        alone = await tried(connection, self._handler, [event])
        if not isinstance(alone, Exception):
            return alone
        await put_aside(connection, self._handler.name, event, alone)
        metrics.DEAD_LETTERS.labels(self._handler.name).inc()
        log.error(
            "consumer.puts_aside",
            consumer=self._handler.name,
            topic=event.stream.topic,
            position=str(event.position),
            reason=reason_of(alone),
            exc_info=alone,
        )
        return []

    def _count(self, news: Iterable[News], envelopes: Sequence[Envelope]) -> None:
        name = self._handler.name
        for found in news:
            metrics.APPLIED.labels(name).inc(len(found.fresh))
            metrics.DUPLICATES.labels(name).inc(found.again)
            metrics.GAPS.labels(name).inc(found.early)
        if envelopes:
            metrics.DELAY.labels(name).set((datetime.now(UTC) - envelopes[-1].time).total_seconds())

    async def _ask_again(self, consumer: Consumer, patience: Patience) -> None:
        """Say what did not come: a lossy broker dropped it, or it was gone before we were there."""
        lanes = [(place.topic, place.partition) for place in await asyncio.to_thread(consumer.assignment)]
        streams = [Stream(shard, topic, lane) for shard in range(len(self._engines)) for topic, lane in lanes]
        if not (quiet := patience.quiet(streams)):
            return
        told = await self._published(quiet)
        async with transaction(self._engine) as connection:
            positions = await self._confirmations.read(connection, quiet)
            lost = patience.lost([stream for stream in quiet if stream in told and told[stream] > positions[stream]])
            if lost:
                await self._confirmations.ask_again(connection, lost)
        for stream in lost:
            log.warning("consumer.asks_again", consumer=self._handler.name, topic=stream.topic, lane=stream.lane)

    async def _published(self, streams: Iterable[Stream]) -> dict[Stream, Position]:
        """What the relays have published: only that can be missing. A shard that is down says nothing."""
        found: dict[Stream, Position] = {}
        for shard in sorted({stream.shard for stream in streams}):
            with suppress(LedgerUnavailable):
                async with reading(self._engines[shard]) as connection:
                    saved = await published(connection, shard, {stream.lane for stream in streams})
                    found |= {stream: place.position for stream, place in saved.items()}
        return found


def _next_messages(consumer: Consumer) -> list[Message]:
    """Wait for one message, then a moment for more: a commit for each would be dear."""
    first = consumer.poll(POLL_SECONDS)
    return [first, *consumer.consume(BATCH - 1, GATHER_SECONDS)] if first is not None else []


def handlers_of(
    settings: Settings, channels: Sequence[Channel], cache: Cache, history: HistoryDatabases
) -> tuple[Handler, ...]:
    """Every consumer there is; people are told over these channels."""
    notifications = Notifications(channels, settings.notification_give_up_seconds)
    return *(History(database) for database in history.all), Webhooks(), Balances(cache), notifications


async def replay_dead_letter(settings: Settings, engine: AsyncEngine, cache: Cache, number: int) -> str | None:
    """Process a dead letter now: None if it has had its effect, else why it still cannot have it.

    Raises NotFound where there is none that waits, or no consumer that wants it with these settings, LedgerUnavailable
    and SettingsInvalid.
    """
    async with AsyncExitStack() as stack:
        history = HistoryDatabases(settings)
        stack.push_async_callback(history.aclose)
        connection = await stack.enter_async_context(transaction(engine))
        letter = await lock(connection, number)
        if letter is None:
            raise NotFound(f"There is no dead letter {number} that waits.")
        handlers = handlers_of(settings, open_channels(settings), cache, history)
        handler = next((handler for handler in handlers if handler.name == letter.consumer), None)
        if handler is None or letter.event.type not in handler.types:
            raise NotFound(f"There is no consumer {letter.consumer} any more that wants {letter.event.type}.")
        done = await tried(connection, handler, [letter.event])
        if isinstance(done, Exception):
            await still(connection, number, done)
            return reason_of(done)
        await replayed(connection, number)
    return None


async def consumers(settings: Settings, life: Life) -> None:
    """All consumers, side by side, and who sends what they have found to send. Raises SettingsInvalid."""
    channels = open_channels(settings)
    engines = [make_engine(url, settings, application_name="sagapay-consumers") for url in settings.shard_urls]
    cache, history = Cache(make_redis(settings), note_cache_error), HistoryDatabases(settings)
    try:
        async with asyncio.TaskGroup() as group:
            for handler in handlers_of(settings, channels, cache, history):
                group.create_task(ConsumerLoop(handler, settings, engines, life).run())
            group.create_task(WebhookSender(settings, engines[0], life).run())
            for sender in senders(channels, engines[0], settings, life):
                group.create_task(sender.run())
    finally:
        await cache.aclose()
        await history.aclose()
        for engine in engines:
            await engine.dispose()


def note_cache_error(operation: str, error: Exception) -> None:
    """Count a problem with Redis, without which consumers go on."""
    metrics.CACHE_ERRORS.labels(operation).inc()
    log.warning("redis.unreachable", operation=operation, error=str(error))


def run(settings: Settings) -> None:
    """The `consumers` role."""
    run_role("consumers", settings, lambda life: consumers(settings, life))
