"""Events from the outbox to their effects, on PostgreSQL and the embedded broker: order, bounds, late commits."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from domain.events import ENTRIES_TOPIC, LANES, TRANSACTIONS_TOPIC
from domain.ids import WalletId
from domain.transactions import TransactionStatus
from events.outbox import READ, Outbox
from events.streams import START, TOPICS, Position, streams_of
from infra.database import make_engine, reading
from tests.events.outbox_rows import entry_event, insert, transaction_event
from tests.events.stage import Recorder, Stage, eventually, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    with databases.copy() as database, staged([database], bare_servers.settings, tmp_path) as made:
        yield made


async def test_every_event_has_its_effect_once_and_in_order(stage: Stage) -> None:
    stage.start_broker()
    wallet = WalletId.new(7)
    async with stage.relay(), stage.consumer(Recorder()), stage.consumer(Recorder("all", TOPICS)):
        for version in range(1, 21):
            stage.tell(*(transaction_event() for _ in range(10)), entry_event(wallet, version))
        await stage.until_all_applied("recorder", "all")
        await stage.until_all_applied("all", topic=ENTRIES_TOPIC)
    assert set(stage.effects()) == set(range(LANES))


async def test_a_late_commit_is_neither_skipped_nor_reordered(stage: Stage) -> None:
    stage.start_broker()
    late, next_one = transaction_event(), transaction_event()
    while next_one.lane != late.lane:
        next_one = transaction_event()
    async with stage.relay(), stage.consumer(Recorder()):
        with psycopg.connect(stage.database.url("sagapay_app")) as slow:
            insert(slow, late)
            stage.tell(next_one)
            await asyncio.sleep(1)
            assert stage.effects() == {}, "the later commit waits for the earlier transaction"
            slow.commit()
        await stage.until_all_applied()
    keys = [key for (key,) in stage.ask("SELECT key FROM ledger.outbox ORDER BY xid, id")]
    assert keys == [late.key, next_one.key]


async def test_a_rolled_back_event_is_never_told(stage: Stage) -> None:
    stage.start_broker()
    async with stage.relay(), stage.consumer(Recorder()):
        with psycopg.connect(stage.database.url("sagapay_app")) as undone:
            insert(undone, transaction_event())
            undone.rollback()
        stage.tell(transaction_event())
        await stage.until_all_applied()
    assert sum(map(len, stage.effects().values())) == 1


@pytest.mark.slow
async def test_twenty_thousand_events_pass_the_embedded_broker_and_it_is_never_given_more_than_it_holds(
    stage: Stage,
) -> None:
    stage.start_broker()
    for _ in range(20):
        stage.tell(*(transaction_event() for _ in range(1000)))
    most = 0
    async with stage.consumer(Recorder(slow_seconds=0.01)) as life, AsyncExitStack() as stack:
        # A relay that knows of nobody who confirms is not bounded.
        await eventually(lambda: life.is_ready, "the consumer to be known")
        await stack.enter_async_context(stage.relay(relay_max_ahead=500))
        while stage.ask("SELECT count(*) FROM effects") != [(20_000,)]:
            most = max(most, *_ahead(stage))
            await asyncio.sleep(0.2)
        await stage.until_all_applied()
    assert 200 < most <= 500


def _ahead(stage: Stage) -> list[int]:
    """Events published and not confirmed, for each stream."""
    rows = stage.ask("""
        SELECT count(o.*) FROM ledger.relay_positions r JOIN ledger.consumer_positions c USING (topic, lane)
        LEFT JOIN ledger.outbox o ON o.topic = r.topic AND o.lane = r.lane
             AND (o.xid, o.id) > (c.xid, c.id) AND (o.xid, o.id) <= (r.xid, r.id)
        GROUP BY r.topic, r.lane""")
    return [int(str(count)) for (count,) in rows] or [0]


@pytest.mark.slow
async def test_what_the_broker_has_dropped_is_published_again(stage: Stage) -> None:
    """Nobody had to confirm yet, so nothing was bounded: the broker's 5 MB a partition overflowed."""
    stage.start_broker()
    for _ in range(12):
        stage.tell(*(transaction_event(memo_bytes=2000) for _ in range(1000)))
    async with stage.relay(relay_max_ahead=500):
        await eventually(lambda: stage.published() == 12_000, "everything to be published")
        async with stage.consumer(Recorder()):
            await stage.until_all_applied()


async def test_a_new_consumer_gets_everything_from_the_beginning(stage: Stage) -> None:
    stage.start_broker()
    async with stage.relay():
        async with stage.consumer(Recorder("first")):
            stage.tell(*(transaction_event() for _ in range(100)))
            await stage.until_all_applied("first")
        stage.start_broker()  # which has nothing of it
        stage.tell(transaction_event())
        async with stage.consumer(Recorder("first")), stage.consumer(Recorder("second")):
            await stage.until_all_applied("first", "second")


async def test_reading_uses_the_index_of_every_partition(stage: Stage) -> None:
    with stage.connect() as connection:
        for _ in range(3):
            insert(connection, *(transaction_event() for _ in range(1000)))
        connection.execute("""
            INSERT INTO ledger.outbox (created_at, lane, event_id, topic, key, type, data)
            SELECT created_at + interval '1 day', lane, event_id, topic, key, type, data FROM ledger.outbox""")
        connection.execute("ANALYZE ledger.outbox")
    streams = streams_of(TOPICS, 0)
    parameters = {
        "topics": [stream.topic for stream in streams],
        "lanes": [stream.lane for stream in streams],
        "xids": ["5"] * len(streams),
        "ids": [7] * len(streams),
        "limits": [500] * len(streams),
    }
    engine = make_engine(stage.settings.shard_urls[0], stage.settings)
    async with reading(engine) as connection:
        plan = "\n".join(await connection.scalars(text(f"EXPLAIN (ANALYZE) {READ.text}"), parameters))
    await engine.dispose()
    assert "Seq Scan" not in plan
    assert "Sort  (" not in plan
    assert "Index Cond: ((topic = s.topic) AND (lane = s.lane) AND (ROW(xid, id) > ROW(s.xid, s.id))" in plan


async def test_all_streams_are_read_in_one_statement_each_in_order_and_bounded(stage: Stage) -> None:
    stage.tell(*(transaction_event() for _ in range(200)), *(entry_event(WalletId.new(n), 1) for n in range(50)))
    engine = make_engine(stage.settings.shard_urls[0], stage.settings)
    async with reading(engine) as connection:
        outbox = Outbox(connection, 0, connection)
        rows = await outbox.read(dict.fromkeys(streams_of(TOPICS, 0), (START, 20)))
        assert len(rows) == 4 * 20 + sum(min(20, len(lane)) for lane in stage.outbox(ENTRIES_TOPIC).values())
        for stream in streams_of(TOPICS, 0):
            found = [str(row.position) for row in rows if row.stream == stream]
            assert found == stage.outbox(stream.topic).get(stream.lane, [])[:20]
        stream = streams_of([TRANSACTIONS_TOPIC], 0)[-1]
        fifth = [row.position for row in rows if row.stream == stream][4]
        after = await outbox.read({stream: (fifth, 3)})
        assert [str(row.position) for row in after] == stage.outbox(stream.topic)[stream.lane][5:8]
        assert await outbox.read({stream: (Position(2**62, 0), 3)}) == []
    await engine.dispose()


async def test_a_status_is_told_with_its_type(stage: Stage) -> None:
    stage.start_broker()
    tx_id = transaction_event().event.tx_id
    steps = (TransactionStatus.PROCESSING, TransactionStatus.FAILED)
    async with stage.relay(), stage.consumer(Recorder()):
        stage.tell(*(transaction_event(status, tx_id=tx_id) for status in steps))
        await stage.until_all_applied()
    assert stage.ask("SELECT type FROM effects ORDER BY number") == [
        ("transaction.processing",),
        ("transaction.failed",),
    ]
