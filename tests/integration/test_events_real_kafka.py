"""What needs a broker's promises, on a real Apache Kafka: `SAGAPAY_TEST_KAFKA_LIBS` names a folder of its jars.

`make test-kafka` gets them and sets it. Without the setting these tests are skipped.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from domain.events import ENTRIES_TOPIC, LANES, TRANSACTIONS_TOPIC
from infra.kafka import find_broker
from tests.events.kafka_server import KafkaServer
from tests.events.outbox_rows import transaction_event
from tests.events.stage import Recorder, Stage, eventually, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers

LIBS = os.environ.get("SAGAPAY_TEST_KAFKA_LIBS")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not LIBS or not shutil.which("java"), reason="SAGAPAY_TEST_KAFKA_LIBS names no jars, or no Java"
    ),
]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaServer]:
    server = KafkaServer(Path(LIBS or ""), tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path, kafka: KafkaServer) -> Iterator[Stage]:
    with (
        databases.copy() as database,
        staged([database], bare_servers.settings, tmp_path, kafka_bootstrap=kafka.bootstrap) as made,
    ):
        yield made


def some(count: int = 50) -> list:
    return [transaction_event() for _ in range(count)]


async def test_topics_are_made_and_every_event_has_its_effect_once(stage: Stage, kafka: KafkaServer) -> None:
    async with stage.relay(), stage.consumer(Recorder()):
        for _ in range(20):
            stage.tell(*some(500))
        await stage.until_all_applied()
    topics = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=5).topics
    assert [len(topics[name].partitions) for name in (TRANSACTIONS_TOPIC, ENTRIES_TOPIC)] == [LANES, LANES]


async def test_a_broker_that_comes_back_is_the_same_one(stage: Stage, kafka: KafkaServer) -> None:
    async with stage.relay(), stage.consumer(Recorder()):
        stage.tell(*some())
        await stage.until_all_applied()
        before = find_broker(stage.settings)
        kafka.kill()
        stage.tell(*some())
        kafka.start()
        await stage.until_all_applied()
        assert find_broker(stage.settings) == before


async def test_another_cluster_at_the_same_address_is_given_what_is_not_confirmed(
    stage: Stage, kafka: KafkaServer
) -> None:
    async with stage.consumer(Recorder()):
        pass
    async with stage.relay():
        stage.tell(*some())
        await eventually(lambda: _published(stage) == 50, "everything to be published")
        before = find_broker(stage.settings)
        kafka.replace()
        assert find_broker(stage.settings).broker_id != before.broker_id
        async with stage.consumer(Recorder()):
            stage.tell(*some())
            await stage.until_all_applied()


def _published(stage: Stage) -> int:
    rows = stage.ask("""
        SELECT count(*) FROM ledger.outbox o JOIN ledger.relay_positions r USING (topic, lane)
        WHERE (o.xid, o.id) <= (r.xid, r.id)""")
    return int(str(rows[0][0]))
