"""Topics on a real Kafka: made where they are missing; what is set otherwise is put right, or refused with a reason.

How a topic is replicated (`min.insync.replicas` too) stays what the broker's defaults and its operators say: the outbox
has every event.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.cimpl import NewTopic

from domain.errors import BrokerUnavailable
from infra.kafka import METADATA_SECONDS, Broker, address_of

DAY_MILLISECONDS: Final = 24 * 3600 * 1000
FORBIDDEN: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)

log = structlog.get_logger(__name__)


class TopicUnfit(BrokerUnavailable):
    """A topic is not what it has to be, and putting it right is for a person. Events wait meanwhile."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What every topic has: at least so many partitions, and each event for so long after it was published."""

    partitions: int
    keep_days: int

    @property
    def configs(self) -> dict[str, str]:
        """The same as Kafka's own settings of a topic. Compaction would drop all but an account's last event."""
        return {"cleanup.policy": "delete", "retention.ms": str(self.keep_days * DAY_MILLISECONDS)}


def ensure_topics(broker: Broker, topics: Iterable[str], terms: Terms) -> None:
    """See that a real broker has these topics on these terms (the embedded one makes topics by itself).

    Raises TopicUnfit for one with fewer partitions, BrokerUnavailable. Who may not look at settings, or change them,
    goes on and logs `kafka.topic_not_checked`.
    """
    if broker.embedded:
        return
    admin = AdminClient(address_of(broker.bootstrap))
    wanted = sorted(topics)
    try:
        there = admin.list_topics(timeout=METADATA_SECONDS).topics
        _create(admin, [topic for topic in wanted if topic not in there], terms)
        found = [there[topic] for topic in wanted if topic in there]
        _put_right(admin, [str(topic.topic) for topic in found], terms)
    except (KafkaException, TimeoutError) as error:
        raise BrokerUnavailable(f"Kafka at {broker.bootstrap} did not make its topics ready: {error}") from error
    for topic in found:
        if topic.error is not None:
            raise BrokerUnavailable(f"topic {topic.topic} is not ready: {topic.error}")
        if len(topic.partitions) < terms.partitions:
            raise TopicUnfit(
                f"topic {topic.topic} has {len(topic.partitions)} partitions and needs {terms.partitions}: "
                f"kafka-topics.sh --alter --topic {topic.topic} --partitions {terms.partitions}"
            )


def _create(admin: AdminClient, topics: Sequence[str], terms: Terms) -> None:
    wanted = [NewTopic(topic, num_partitions=terms.partitions, config=terms.configs) for topic in topics]
    made = admin.create_topics(wanted, operation_timeout=METADATA_SECONDS) if wanted else {}
    for topic, future in made.items():
        error = future.exception(timeout=2 * METADATA_SECONDS)
        if error is None:
            log.info("kafka.topic_created", topic=topic, **terms.configs)
        elif _code(error) != KafkaError.TOPIC_ALREADY_EXISTS:  # By another role, a moment ago.
            raise error


def _put_right(admin: AdminClient, topics: Sequence[str], terms: Terms) -> None:
    if not topics:
        return
    asked = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, topic) for topic in topics], request_timeout=METADATA_SECONDS
    )
    for resource, future in asked.items():
        try:
            found = future.result(timeout=2 * METADATA_SECONDS)
            differing = {name: found[name].value for name, value in terms.configs.items() if found[name].value != value}
            if differing:
                _alter(admin, resource.name, {name: terms.configs[name] for name in differing})
                log.warning("kafka.topic_put_right", topic=resource.name, was=differing, now=terms.configs)
        except KafkaException as error:
            if _code(error) not in FORBIDDEN:
                raise
            log.warning("kafka.topic_not_checked", topic=resource.name, wanted=terms.configs, reason=str(error))


def _alter(admin: AdminClient, topic: str, configs: dict[str, str]) -> None:
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in configs.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource], request_timeout=METADATA_SECONDS).values():
        future.result(timeout=2 * METADATA_SECONDS)


def _code(error: BaseException) -> int | None:
    return error.args[0].code() if isinstance(error, KafkaException) else None
