"""The relay: outbox → Kafka. At least once, in each stream's order, for ever; docs/adr/0003 says why so.

One relay at a time per lane, by locks of the database; another one waits and takes over. Whatever goes wrong, it lets
go of everything, waits a little and begins again from what is recorded.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import BrokerUnavailable, LedgerUnavailable
from domain.events import LANES
from events import metrics
from events.messages import OutboxRow, Outgoing, outgoing
from events.outbox import Outbox
from events.publisher import Publisher
from events.streams import START, TOPICS, Position, Stream, streams_of
from events.tracks import BATCH, Track, lowest, starting_position
from infra.database import make_engine, reading
from infra.kafka import Broker, find_broker
from infra.kafka_topics import Terms, ensure_topics
from infra.role import Backoff, Life, run_role
from infra.settings import Settings

GATHER_SECONDS: Final = 0.25
"""Between two looks at the outbox: what was written meanwhile is one batch, for the consumers, too."""
HOUSEKEEPING_SECONDS: Final = 0.5
"""How often to try for lanes that another relay has, and to ask whether a consumer missed something."""
FIRST_RETRY_SECONDS: Final = 0.2
LONGEST_RETRY_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class BrokerReplaced(BrokerUnavailable):
    """The broker is another one now."""


class Relay:
    """Publishes one shard's outbox while `run` runs."""

    def __init__(self, settings: Settings, life: Life, shard: int = 0) -> None:
        self._settings = settings
        self._life = life
        self._shard = shard
        self._backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        self._lag = metrics.LagClock(shard)

    async def run(self) -> None:
        """Until the role is asked to end. Outages of the database and of Kafka only delay it."""
        while not self._life.stopping:
            try:
                await self._session()
            except (LedgerUnavailable, BrokerUnavailable) as error:
                pause = self._backoff.next_seconds()
                log.warning("relay.waits", reason=error.detail, seconds=pause, lag_seconds=self._lag.seconds())
                await self._life.pause(pause)

    async def _session(self) -> None:
        """The connections, and what they hold, until something goes wrong."""
        try:
            async with AsyncExitStack() as stack:
                connection = await self._connect(stack, self._shard)
                outbox = Outbox(connection, self._shard, await self._connect(stack, 0) if self._shard else connection)
                await outbox.prepare()
                lanes = await self._wait_for_lanes(outbox)
                if lanes:
                    await self._note_lag(outbox, lanes)
                    await self._serve(outbox, lanes)
        finally:
            metrics.LANES_HELD.labels(self._shard).set(0)

    async def _connect(self, stack: AsyncExitStack, shard: int) -> AsyncConnection:
        """A connection for as long as `stack` is open. The locks belong to it: it is closed then, not kept."""
        engine = make_engine(self._settings.shard_urls[shard], self._settings, application_name="sagapay-relay")
        stack.push_async_callback(engine.dispose)
        return await stack.enter_async_context(reading(engine))

    async def _wait_for_lanes(self, outbox: Outbox) -> frozenset[int]:
        while not self._life.stopping:
            lanes = await outbox.lock_lanes(frozenset())
            self._life.ready()
            metrics.LANES_HELD.labels(self._shard).set(len(lanes))
            if lanes:
                return lanes
            await self._life.pause(HOUSEKEEPING_SECONDS)
        return frozenset()

    async def _note_lag(self, outbox: Outbox, lanes: frozenset[int]) -> None:
        published = await outbox.published(lanes)
        positions = dict.fromkeys(streams_of(TOPICS, self._shard, lanes), START)
        positions |= {stream: saved.position for stream, saved in published.items()}
        rows = await outbox.read({stream: (position, 1) for stream, position in positions.items()})
        self._lag.waiting_since(min((row.created_at for row in rows), default=None))

    async def _serve(self, outbox: Outbox, lanes: frozenset[int]) -> None:
        broker = await asyncio.to_thread(find_broker, self._settings)
        await asyncio.to_thread(ensure_topics, broker, TOPICS, Terms(LANES, self._settings.kafka_keep_days))
        delivery = Delivery(
            settings=self._settings,
            life=self._life,
            shard=self._shard,
            outbox=outbox,
            broker=broker,
            lag=self._lag,
        )
        try:
            await delivery.run(lanes, self._backoff)
        finally:
            await delivery.close()


class Delivery:
    """Some lanes on one connection to one broker."""

    def __init__(
        self, *, settings: Settings, life: Life, shard: int, outbox: Outbox, broker: Broker, lag: metrics.LagClock
    ) -> None:
        self._settings = settings
        self._life = life
        self._shard = shard
        self._outbox = outbox
        self._broker = broker
        self._lag = lag
        self._publisher = Publisher(broker)
        self._tracks: dict[Stream, Track] = {}
        self._lanes = frozenset[int]()

    async def run(self, lanes: frozenset[int], backoff: Backoff) -> None:
        """Publish until asked to end. Raises LedgerUnavailable, BrokerUnavailable."""
        await self._adopt(lanes)
        kept_house = looked = time.monotonic()
        while not self._life.stopping:
            now = time.monotonic()
            if now - looked > self._broker.recheck_seconds:
                await self._look_at_broker()
                looked = now
            if now - kept_house > HOUSEKEEPING_SECONDS:
                await self._keep_house()
                kept_house = now
            if published := await self._publish_some():
                backoff.reset()
            if published < BATCH:
                await self._life.pause(GATHER_SECONDS)

    async def close(self) -> None:
        """Let go of the broker."""
        await self._publisher.close()

    async def _adopt(self, lanes: frozenset[int]) -> None:
        """Begin with lanes that have just become ours."""
        published, confirmed = await self._outbox.published(lanes), await self._outbox.confirmations(lanes)
        max_ahead = self._settings.relay_max_ahead if self._broker.embedded else None
        for stream in streams_of(TOPICS, self._shard, lanes):
            before, found = published.get(stream), confirmed.get(stream, ())
            start = starting_position(before, lowest(found), self._broker)
            if before and start < before.position:
                metrics.REWOUND.labels(stream.topic, "begin").inc()
            track = self._tracks[stream] = Track(start, max_ahead)
            track.confirmed(found)
            await self._outbox.answered(stream)
        self._lanes |= lanes
        metrics.LANES_HELD.labels(self._shard).set(len(self._lanes))
        log.info("relay.publishes", lanes=sorted(self._lanes), broker=self._broker.broker_id)
        await self._outbox.save(self._broker.broker_id, {s: track.position for s, track in self._tracks.items()})

    async def _look_at_broker(self) -> None:
        if await asyncio.to_thread(self._is_replaced):
            raise BrokerReplaced(f"the broker is not {self._broker.broker_id} any more")

    def _is_replaced(self) -> bool:
        try:
            return find_broker(self._settings) != self._broker
        except BrokerUnavailable:
            return False

    async def _keep_house(self) -> None:
        self._publisher.listen()
        if len(self._lanes) < LANES:
            lanes = await self._outbox.lock_lanes(self._lanes)
            if lanes > self._lanes:
                await self._adopt(lanes - self._lanes)
        await self._note_confirmations()

    async def _note_confirmations(self) -> None:
        confirmed = await self._outbox.confirmations(self._lanes)
        for stream, track in self._tracks.items():
            found = confirmed.get(stream, ())
            again_from = track.confirmed(found)
            if again_from is not None:
                metrics.REWOUND.labels(stream.topic, "missing").inc()
                log.info("relay.publishes_again", topic=stream.topic, lane=stream.lane, after=str(again_from))
            if any(confirmation.missing for confirmation in found):
                await self._outbox.answered(stream)
        for topic in TOPICS:
            ahead = sum(track.ahead for stream, track in self._tracks.items() if stream.topic == topic)
            metrics.AHEAD.labels(topic, self._shard).set(ahead)

    async def _publish_some(self) -> int:
        """Publish what there is, one batch of each stream. Returns the size of the largest."""
        if any(track.ahead for track in self._tracks.values()):
            await self._note_confirmations()
        rows = await self._outbox.read({s: (track.position, track.room) for s, track in self._tracks.items()})
        if not rows:
            # A stream without room was not read: what waits there is as old as it was.
            if all(track.room for track in self._tracks.values()):
                self._lag.waiting_since(None)
            return 0
        self._lag.waiting_since(min(row.created_at for row in rows))
        batches = _by_stream(rows)
        messages = [message for s, batch in batches.items() for message in chained(batch, self._tracks[s].position)]
        await self._publisher.publish(messages, lambda: not self._life.stopping and not self._is_replaced_file())
        for stream, batch in batches.items():
            self._tracks[stream].delivered([row.position for row in batch])
            metrics.PUBLISHED.labels(stream.topic).inc(len(batch))
        await self._outbox.save(self._broker.broker_id, {stream: self._tracks[stream].position for stream in batches})
        return max(map(len, batches.values()))

    def _is_replaced_file(self) -> bool:
        return self._broker.embedded and self._is_replaced()


def chained(rows: Sequence[OutboxRow], previous: Position) -> list[Outgoing]:
    """Messages that each name the one before; `previous` is where the stream stands."""
    before = [previous, *(row.position for row in rows)]
    assert before == sorted(set(before)), "a stream is published in order"
    return [outgoing(row, before[index]) for index, row in enumerate(rows)]


def _by_stream(rows: Sequence[OutboxRow]) -> dict[Stream, list[OutboxRow]]:
    batches: dict[Stream, list[OutboxRow]] = {}
    for row in rows:
        batches.setdefault(row.stream, []).append(row)
    return batches


async def relay(settings: Settings, life: Life) -> None:
    """One relay per shard, side by side."""
    async with asyncio.TaskGroup() as group:
        for shard in range(len(settings.shard_urls)):
            group.create_task(Relay(settings, life, shard).run())


def run(settings: Settings) -> None:
    """The `relay` role."""
    run_role("relay", settings, lambda life: relay(settings, life))
