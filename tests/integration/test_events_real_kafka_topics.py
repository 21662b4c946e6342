"""Topics of a real Apache Kafka are what the settings want, as the broker itself tells it, or the reason is told."""

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewPartitions, NewTopic

from domain.events import ENTRIES_TOPIC, LANES, TRANSACTIONS_TOPIC
from events.streams import TOPICS
from infra.kafka import find_broker
from infra.kafka_topics import Terms, TopicUnfit, ensure_topics
from tests.events.kafka_server import KafkaServer
from tests.events.outbox_rows import transaction_event
from tests.events.stage import Recorder, Stage, eventually

pytestmark = pytest.mark.slow

KEEP_DAYS = 3
WANTED = {"cleanup.policy": "delete", "retention.ms": "259200000"}
TERMS = Terms(LANES, KEEP_DAYS)


@pytest.fixture
def admin(kafka: KafkaServer) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.bootstrap})


def create(admin: AdminClient, topic: str, partitions: int = LANES, **config: str) -> None:
    wanted = NewTopic(topic, num_partitions=partitions, config={k.replace("_", "."): v for k, v in config.items()})
    admin.create_topics([wanted])[topic].result(timeout=10)


def configs(admin: AdminClient, topic: str = TRANSACTIONS_TOPIC) -> dict[str, str | None]:
    """What the broker says of the settings that we want; and of one that we leave alone."""
    [future] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    found = future.result(timeout=10)
    return {name: found[name].value for name in (*WANTED, "min.insync.replicas")}


async def until_configs(admin: AdminClient, wanted: dict[str, str], topic: str = TRANSACTIONS_TOPIC) -> None:
    """The broker hears of a change of settings from its controller, a moment later."""
    await eventually(lambda: configs(admin, topic) == wanted, f"{topic} to have {wanted}", seconds=10)


def is_there(admin: AdminClient) -> bool:
    return TRANSACTIONS_TOPIC in admin.list_topics(timeout=5).topics


def partitions(admin: AdminClient, topic: str) -> int:
    return len(admin.list_topics(timeout=5).topics[topic].partitions)


async def test_the_relay_makes_topics_with_partitions_and_retention(kafka_stage: Stage, admin: AdminClient) -> None:
    async with kafka_stage.relay(kafka_keep_days=KEEP_DAYS):
        kafka_stage.tell(transaction_event())
        await eventually(lambda: kafka_stage.published() == 1, "the event to be published")
    for topic in TOPICS:
        assert partitions(admin, topic) == LANES
        await until_configs(admin, {**WANTED, "min.insync.replicas": "1"}, topic)


async def test_other_retention_and_compaction_are_put_right(kafka_stage: Stage, admin: AdminClient) -> None:
    create(admin, TRANSACTIONS_TOPIC, cleanup_policy="compact", retention_ms="3600000", min_insync_replicas="2")
    create(admin, ENTRIES_TOPIC, partitions=LANES + 2)
    broker = find_broker(kafka_stage.settings)
    with structlog.testing.capture_logs() as logs:
        ensure_topics(broker, (TRANSACTIONS_TOPIC, ENTRIES_TOPIC), TERMS)
        await until_configs(admin, {**WANTED, "min.insync.replicas": "2"})
        await until_configs(admin, {**WANTED, "min.insync.replicas": "1"}, ENTRIES_TOPIC)
        assert partitions(admin, ENTRIES_TOPIC) == LANES + 2
        ensure_topics(broker, (TRANSACTIONS_TOPIC, ENTRIES_TOPIC), TERMS)
    said = [(log["event"], log["topic"]) for log in logs]
    assert sorted(said) == [("kafka.topic_put_right", ENTRIES_TOPIC), ("kafka.topic_put_right", TRANSACTIONS_TOPIC)]


async def test_a_topic_changed_later_is_put_right_at_the_next_look(kafka_stage: Stage, admin: AdminClient) -> None:
    broker = find_broker(kafka_stage.settings)
    ensure_topics(broker, TOPICS, TERMS)
    await eventually(lambda: is_there(admin), "the topic to be known to the broker")
    shorter = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, TRANSACTIONS_TOPIC, incremental_configs=[shorter])
    admin.incremental_alter_configs([resource])[resource].result(timeout=10)
    await until_configs(admin, {**WANTED, "retention.ms": "1000", "min.insync.replicas": "1"})
    ensure_topics(broker, TOPICS, TERMS)
    await until_configs(admin, {**WANTED, "min.insync.replicas": "1"})


async def test_events_wait_while_a_topic_has_too_few_partitions_and_the_reason_is_told(
    kafka_stage: Stage, admin: AdminClient
) -> None:
    create(admin, TRANSACTIONS_TOPIC, partitions=LANES - 1)
    told = f"topic {TRANSACTIONS_TOPIC} has {LANES - 1} partitions and needs {LANES}: kafka-topics.sh --alter"
    with pytest.raises(TopicUnfit, match=told):
        ensure_topics(find_broker(kafka_stage.settings), TOPICS, TERMS)
    with structlog.testing.capture_logs() as logs:
        async with kafka_stage.relay(), kafka_stage.consumer(Recorder()):
            kafka_stage.tell(*(transaction_event() for _ in range(20)))

            def both_have_told() -> bool:
                return {log["event"] for log in logs if told in str(log.get("reason"))} == {
                    "relay.waits",
                    "consumer.waits",
                }

            await eventually(both_have_told, "relay and consumer to say why they wait")
            assert kafka_stage.published() == 0
            add_partitions(admin, TRANSACTIONS_TOPIC, LANES)
            await kafka_stage.until_all_applied()


async def test_who_may_read_and_write_only_goes_on_and_says_so(kafka_stage: Stage, admin: AdminClient) -> None:
    create(admin, TRANSACTIONS_TOPIC)
    rights = [allowed(AclOperation.READ), allowed(AclOperation.WRITE)]
    for future in admin.create_acls(rights).values():
        future.result(timeout=10)
    try:
        await eventually(lambda: is_forbidden(admin), "the right to be gone")
        with structlog.testing.capture_logs() as logs:
            async with kafka_stage.relay(), kafka_stage.consumer(Recorder()):
                kafka_stage.tell(*(transaction_event() for _ in range(20)))
                await kafka_stage.until_all_applied()
        said = [log for log in logs if log["event"] == "kafka.topic_not_checked"]
        assert {log["topic"] for log in said} == {TRANSACTIONS_TOPIC}
        assert "TOPIC_AUTHORIZATION_FAILED" in said[0]["reason"]
    finally:
        everything = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
        )
        admin.delete_acls([everything])[everything].result(timeout=10)
        await eventually(lambda: not is_forbidden(admin), "the right to be back")


def allowed(operation: AclOperation) -> AclBinding:
    """A right to the topic of transactions; who has one has no other than those given."""
    everybody, everywhere = "User:ANONYMOUS", "*"
    return AclBinding(
        ResourceType.TOPIC,
        TRANSACTIONS_TOPIC,
        ResourcePatternType.LITERAL,
        everybody,
        everywhere,
        operation,
        AclPermissionType.ALLOW,
    )


def is_forbidden(admin: AdminClient) -> bool:
    try:
        configs(admin)
    except KafkaException as error:
        return bool(error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED)
    return False


def add_partitions(admin: AdminClient, topic: str, count: int) -> None:
    admin.create_partitions([NewPartitions(topic, count)])[topic].result(timeout=10)
