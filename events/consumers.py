"""Consumers: Kafka → effects, once each. The database's position is the truth; Kafka's offsets only save reading.

A consumer applies an event only when it has the one before it, and confirms its position in the commit of the effects.
What comes again is ignored, what comes too early is refused, and what does not come is asked for again.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.errors import BrokerUnavailable, LedgerUnavailable
from domain.events import LANES, Envelope
from events import metrics
from events.confirmations import Confirmations, News, new_events
from events.history import History
from events.messages import EventUnreadable, Incoming, incoming
from events.outbox import published
from events.patience import EMBEDDED_SECONDS, REAL_SECONDS, Patience
from events.streams import Position, Stream, streams_of
from infra.database import make_engine, reading, transaction
from infra.kafka import Broker, consumer_config, ensure_topics, find_broker, let_go
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
                await asyncio.to_thread(ensure_topics, broker, self._handler.topics, LANES)
                await self._consume(broker)
            except (LedgerUnavailable, BrokerUnavailable, KafkaException, EventUnreadable) as error:
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
        patience = Patience(EMBEDDED_SECONDS if broker.embedded else REAL_SECONDS)
        looked = time.monotonic()
        try:
            consumer.subscribe(sorted(self._handler.topics))
            while not self._life.stopping:
                began = time.monotonic()
                messages = await asyncio.to_thread(_next_messages, consumer)
                patience.listened(time.monotonic() - began)
                if messages:
                    await self._take(consumer, messages, patience)
                if time.monotonic() - looked > broker.recheck_seconds:
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

        Raises LedgerUnavailable, EventUnreadable; then there was no effect, or it is found when they come again.
        """
        if not arrived:
            return {}
        async with transaction(self._engine) as connection:
            positions = await self._confirmations.lock(connection, arrived)
            news = {stream: new_events(arrived[stream], position) for stream, position in positions.items()}
            fresh = [event for found in news.values() for event in found.fresh]
            envelopes = [event.envelope() for event in fresh if event.type in self._handler.types]
            if envelopes:
                await self._handler.apply(connection, envelopes)
            if fresh:
                moved = {stream: found.position for stream, found in news.items() if found.fresh}
                await self._confirmations.confirm(connection, moved)
        self._count(news.values(), envelopes)
        return news

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


HANDLERS: Final[tuple[Handler, ...]] = (History(),)


async def consumers(settings: Settings, life: Life) -> None:
    """All consumers, side by side."""
    engines = [make_engine(url, settings, application_name="sagapay-consumers") for url in settings.shard_urls]
    try:
        async with asyncio.TaskGroup() as group:
            for handler in HANDLERS:
                group.create_task(ConsumerLoop(handler, settings, engines, life).run())
    finally:
        for engine in engines:
            await engine.dispose()


def run(settings: Settings) -> None:
    """The `consumers` role."""
    run_role("consumers", settings, lambda life: consumers(settings, life))
