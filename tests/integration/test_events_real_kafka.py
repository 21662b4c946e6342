"""What needs a broker's promises, on a real Apache Kafka: restarts, another cluster, what retention took too early."""

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from domain.events import LANES, TRANSACTIONS_TOPIC
from infra.kafka import find_broker
from tests.events.outbox_rows import Row, transaction_event
from tests.events.real_kafka import Broker
from tests.events.stage import Recorder, Stage, eventually

pytestmark = pytest.mark.slow


def some(count: int = 50) -> list[Row]:
    return [transaction_event() for _ in range(count)]


async def test_every_event_has_its_effect_once_and_in_order(kafka_stage: Stage) -> None:
    async with kafka_stage.relay(), kafka_stage.consumer(Recorder()):
        for _ in range(20):
            kafka_stage.tell(*some(500))
        await kafka_stage.until_all_applied()


async def test_a_broker_that_comes_back_is_the_same_one(kafka_stage: Stage, broker: Broker) -> None:
    async with kafka_stage.relay(), kafka_stage.consumer(Recorder()):
        kafka_stage.tell(*some())
        await kafka_stage.until_all_applied()
        before = find_broker(kafka_stage.settings)
        broker.kill()
        kafka_stage.tell(*some())
        broker.start()
        await kafka_stage.until_all_applied()
        assert find_broker(kafka_stage.settings) == before


async def test_another_cluster_at_the_same_address_is_given_what_is_not_confirmed(
    kafka_stage: Stage, broker: Broker
) -> None:
    async with kafka_stage.consumer(Recorder()):
        pass
    async with kafka_stage.relay():
        kafka_stage.tell(*some())
        await eventually(lambda: kafka_stage.published() == 50, "everything to be published")
        before = find_broker(kafka_stage.settings)
        broker.replace()
        assert find_broker(kafka_stage.settings).broker_id != before.broker_id
        async with kafka_stage.consumer(Recorder()):
            kafka_stage.tell(*some())
            await kafka_stage.until_all_applied()


async def test_what_the_broker_has_dropped_is_published_again(kafka_stage: Stage, broker: Broker) -> None:
    """Retention took all that one consumer had not read, while another had; then half of what it reads next."""
    async with kafka_stage.relay():
        async with kafka_stage.consumer(Recorder("in time")):
            kafka_stage.tell(*some(200))
            await kafka_stage.until_all_applied("in time")
        drop(broker, everything=True)
        async with kafka_stage.consumer(Recorder("late")):
            await kafka_stage.until_all_applied("late")
        kafka_stage.tell(*some(200))
        await eventually(lambda: kafka_stage.published() == 400, "everything to be published")
        drop(broker, everything=False)
        async with kafka_stage.consumer(Recorder("in time")), kafka_stage.consumer(Recorder("late")):
            await kafka_stage.until_all_applied("in time", "late")


def drop(broker: Broker, *, everything: bool) -> None:
    """Delete records, as retention does: all that a partition has, or all but the newest few."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    lanes = [TopicPartition(TRANSACTIONS_TOPIC, lane) for lane in range(LANES)]
    asked = admin.list_offsets({lane: OffsetSpec.latest() for lane in lanes})
    ends = {lane.partition: future.result(timeout=10).offset for lane, future in asked.items()}
    until = [
        TopicPartition(lane.topic, lane.partition, ends[lane.partition] - (0 if everything else 10)) for lane in lanes
    ]
    for future in admin.delete_records(until).values():
        assert future.result(timeout=10).low_watermark > 0
