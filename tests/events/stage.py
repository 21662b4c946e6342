"""A database, a broker and roles of a test's own, and a consumer whose every effect leaves a mark."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import ENTRIES_TOPIC, TRANSACTIONS_TOPIC, Envelope, lane_of
from events.consumers import ConsumerLoop, Handler, consumers
from events.relay import relay
from events.streams import TOPICS
from infra.database import make_engine
from infra.kafka import DISCOVERY_FILE
from infra.local.child import Child, Command
from infra.local.probes import discovered_by
from infra.role import Life
from infra.settings import Settings
from tests.events.outbox_rows import Row, insert
from tests.money.scratch import Database, settings_of

PATIENCE_SECONDS = 60.0


@dataclass
class Stage:
    """Everything between the outboxes and an effect. Nothing runs until a test starts it."""

    shards: Sequence[Database]
    settings: Settings
    children: list[Child] = field(default_factory=list)

    @property
    def database(self) -> Database:
        """The first shard, where effects are had."""
        return self.shards[0]

    @property
    def home(self) -> Path:
        return self.settings.state_dir

    def start_broker(self) -> Child:
        """An embedded broker, new and empty; it takes the place of the one before."""
        discovery = self.home / DISCOVERY_FILE
        broker = self._spawn("kafka", "-m", "infra.local.broker", str(discovery))
        until(lambda: discovered_by(discovery, broker.pid), seconds=15)
        return broker

    def start_role(self, *words: str, **settings: object) -> Child:
        """A role as a process: `python` with these words, and settings that differ."""
        own = {
            "state_dir": self.home,
            "shard_urls": ",".join(self.settings.shard_urls),
            "migration_urls": ",".join(self.settings.migration_urls),
            **({"kafka_bootstrap": self.settings.kafka_bootstrap} if self.settings.kafka_bootstrap else {}),
            **settings,
        }
        environment = {f"SAGAPAY_{name.upper()}": str(value) for name, value in own.items()}
        return self._spawn(words[-1], *words, environment=environment)

    def _spawn(self, name: str, *words: str, environment: dict[str, str] | None = None) -> Child:
        log = self.home / "logs" / f"{name}-{len(self.children)}.log"
        child = Child(Command(name, [sys.executable, *words], log, environment or {}))
        self.children.append(child)
        return child

    def tell(self, *rows: Row, shard: int = 0) -> None:
        """Commit events to the outbox, all in one database transaction."""
        with self.connect(shard) as connection, connection.transaction():
            insert(connection, *rows)

    @contextmanager
    def connect(self, shard: int = 0) -> Iterator[psycopg.Connection]:
        """A connection in autocommit, as the superuser."""
        with self.shards[shard].connect() as connection:
            yield connection

    def ask(self, query: str, shard: int = 0) -> list[tuple[object, ...]]:
        """The rows of a query."""
        with self.connect(shard) as connection:
            return connection.execute(query.encode()).fetchall()

    @asynccontextmanager
    async def relay(self, **overrides: object) -> AsyncIterator[Life]:
        """The relays of all shards in this process."""
        life = Life()
        async with _running(relay(self.settings.model_copy(update=overrides), life), life):
            yield life

    @asynccontextmanager
    async def consumer(self, handler: Handler) -> AsyncIterator[Life]:
        """A consumer in this process."""
        life, engines = Life(), [make_engine(url, self.settings) for url in self.settings.shard_urls]
        try:
            async with _running(ConsumerLoop(handler, self.settings, engines, life).run(), life):
                yield life
        finally:
            for engine in engines:
                await engine.dispose()

    @asynccontextmanager
    async def consumers(self, **overrides: object) -> AsyncIterator[Life]:
        """The whole `consumers` role in this process."""
        life = Life()
        async with _running(consumers(self.settings.model_copy(update=overrides), life), life):
            yield life

    def outbox(self, topic: str, shard: int = 0) -> dict[int, list[str]]:
        """The positions in the outbox, by lane, in their order."""
        query = f"SELECT lane, xid::text || '/' || id FROM ledger.outbox WHERE topic = '{topic}' ORDER BY lane, xid, id"
        return _by_lane(self.ask(query, shard))

    def effects(self, consumer: str = "recorder", topic: str = TOPICS[0], shard: int = 0) -> dict[int, list[str]]:
        """The positions of the effects of a Recorder, by lane, in the order in which they happened."""
        query = (
            f"SELECT lane, position FROM effects WHERE consumer = '{consumer}' AND topic = '{topic}' "
            f"AND shard = {shard} ORDER BY lane, number"
        )
        return _by_lane(self.ask(query))

    def published(self, shard: int = 0) -> int:
        """How many events of a shard's outbox the relay has published."""
        rows = self.ask(PUBLISHED, shard)
        return int(str(rows[0][0]))

    async def until_all_applied(self, *consumers: str, topic: str = TOPICS[0]) -> None:
        """Wait until each consumer had the effects of all outboxes, then check: each once and in order."""
        for shard, consumer in product(range(len(self.shards)), consumers or ("recorder",)):
            wanted = self.outbox(topic, shard)
            total = sum(map(len, wanted.values()))

            def enough(consumer: str = consumer, shard: int = shard, total: int = total) -> bool:
                return sum(map(len, self.effects(consumer, topic, shard).values())) >= total

            await eventually(enough, f"{consumer} to have {total} effects of shard {shard}")
            assert self.effects(consumer, topic, shard) == wanted


class Recorder:
    """A consumer whose effect is a row each time, so that an effect twice, or out of order, is seen."""

    types = frozenset({"transaction.processing", "transaction.completed", "transaction.failed", "entry.posted"})

    def __init__(self, name: str = "recorder", topics: Sequence[str] = TOPICS[:1], slow_seconds: float = 0) -> None:
        self.name = name
        self.topics = frozenset(topics)
        self._slow_seconds = slow_seconds

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope]) -> None:
        await asyncio.sleep(self._slow_seconds)
        statement = text(
            "INSERT INTO effects (consumer, shard, topic, lane, position, type) "
            "VALUES (:consumer, :shard, :topic, :lane, :position, :type)"
        )
        rows = [
            {
                "consumer": self.name,
                "shard": envelope.shard,
                "topic": ENTRIES_TOPIC if envelope.type == "entry.posted" else TRANSACTIONS_TOPIC,
                "lane": lane_of(envelope.key),
                "position": envelope.position,
                "type": envelope.type,
            }
            for envelope in envelopes
        ]
        await connection.execute(statement, rows)


PUBLISHED = """
    SELECT count(*) FROM ledger.outbox o JOIN ledger.relay_positions r USING (topic, lane)
    WHERE (o.xid, o.id) <= (r.xid, r.id)
"""
EFFECTS = """
    CREATE TABLE effects (number bigint GENERATED ALWAYS AS IDENTITY, consumer text, shard int, topic text,
                          lane int,
                          position text, type text, at timestamptz DEFAULT clock_timestamp());
    GRANT SELECT, INSERT ON effects TO sagapay_app
"""


@contextmanager
def staged(shards: Sequence[Database], base: Settings, home: Path, **overrides: object) -> Iterator[Stage]:
    """A stage over these shards; what it has started is gone afterwards."""
    own = {"state_dir": home, "kafka_bootstrap": None, **overrides}
    stage = Stage(shards, settings_of(shards, base, **own))
    with stage.database.connect() as connection:
        connection.execute(EFFECTS.encode())
    try:
        yield stage
    finally:
        for child in reversed(stage.children):
            child.stop(grace_seconds=0.5)


@asynccontextmanager
async def _running(work: Awaitable[None], life: Life) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        life.stop()
        await task


def _by_lane(rows: Sequence[tuple[object, ...]]) -> dict[int, list[str]]:
    lanes: dict[int, list[str]] = {}
    for lane, position in rows:
        assert isinstance(lane, int)
        lanes.setdefault(lane, []).append(str(position))
    return lanes


def until(happened: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something outside this process."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


async def eventually(happened: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something while this process goes on working."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether the process still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
