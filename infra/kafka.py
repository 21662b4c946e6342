"""Kafka: where the broker is, which one it is, and how its clients are set up.

The embedded broker says where it is in a discovery file and is a new one after each start. A real one is named by a
setting, and which one it is, its cluster id says.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from domain.errors import BrokerUnavailable
from infra.settings import Settings

DISCOVERY_FILE: Final = "kafka.json"
METADATA_SECONDS: Final = 5.0
DELIVERY_SECONDS: Final = 10.0
COMPLAINT_SECONDS: Final = 10.0
SESSION_SECONDS: Final = 6
"""The shortest that Kafka's defaults allow: how long the partitions of a killed consumer wait for another."""
CLOSE_SECONDS: Final = 5.0
"""Longer than a client takes to let go of a broker that answers."""

ClientConfig = dict[str, str | int | float | bool]
ClientOptions = dict[str, str | int | float | bool | Callable[[KafkaError], None]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker as found. `broker_id` differs for another one, even at the same address."""

    bootstrap: str
    broker_id: str
    embedded: bool

    @property
    def recheck_seconds(self) -> float:
        """How often to look whether it is still this one: a small file, or a request of its own."""
        return 0.25 if self.embedded else 30.0


def find_broker(settings: Settings) -> Broker:
    """Where the broker is now. Blocks up to METADATA_SECONDS for a real one. Raises BrokerUnavailable."""
    return _named(settings.kafka_bootstrap) if settings.kafka_bootstrap else _discovered(settings)


def _discovered(settings: Settings) -> Broker:
    path = settings.state_dir / DISCOVERY_FILE
    try:
        found = json.loads(path.read_text())
        return Broker(str(found["bootstrap"]), str(found["broker_id"]), embedded=True)
    except (OSError, ValueError, KeyError) as error:
        raise BrokerUnavailable(f"no embedded broker has said where it is in {path.name}") from error


def _named(bootstrap: str) -> Broker:
    admin = AdminClient(address_of(bootstrap))
    try:
        admin.list_topics(timeout=METADATA_SECONDS)
        cluster_id = admin.cluster_id(timeout=METADATA_SECONDS)
    except KafkaException as error:
        raise BrokerUnavailable(f"Kafka at {bootstrap} does not answer: {error}") from error
    return Broker(bootstrap, cluster_id or bootstrap, embedded=False)


def address_of(bootstrap: str) -> ClientConfig:
    """How every client reaches the broker."""
    return {
        "bootstrap.servers": bootstrap,
        "client.id": "sagapay",
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        "log_level": 2,
    }


def producer_config(broker: Broker) -> ClientOptions:
    """Idempotent and acknowledged by all replicas; gives up after DELIVERY_SECONDS, so that the caller decides."""
    return {
        **address_of(broker.bootstrap),
        "error_cb": Complaints(),
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 2,
        "compression.type": "lz4",
        "message.timeout.ms": int(DELIVERY_SECONDS * 1000),
    }


def consumer_config(broker: Broker, group: str) -> ClientOptions:
    """From the beginning where the broker remembers nothing of the group; offsets are committed by hand."""
    return {
        **address_of(broker.bootstrap),
        "error_cb": Complaints(),
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "allow.auto.create.topics": broker.embedded,
        "topic.metadata.refresh.interval.ms": 500 if broker.embedded else 60_000,
        "session.timeout.ms": SESSION_SECONDS * 1000,
        "heartbeat.interval.ms": SESSION_SECONDS * 1000 // 3,
        "fetch.wait.max.ms": 100,
    }


async def let_go(client: str, close: Callable[[], object], seconds: float = CLOSE_SECONDS) -> None:
    """Close a client that nobody uses any more, and go on after `seconds` even if it is not done.

    librdkafka's close may wait for ever for an answer of a broker that died at the wrong moment
    (confluentinc/librdkafka#4519). The thread is left to it: a daemon, so that the process can still end.
    """
    loop = asyncio.get_running_loop()
    closed = loop.create_future()

    def tell(error: Exception | None) -> None:
        if closed.done():
            return
        if error is None:
            closed.set_result(None)
        else:
            closed.set_exception(error)

    def work() -> None:
        error = None
        try:
            close()
        except Exception as raised:  # noqa: BLE001  -- passed on to the caller
            error = raised
        with suppress(RuntimeError):  # The loop has ended: nobody wants to know any more.
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=work, name=f"closes {client}", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await closed
    except TimeoutError:
        log.warning("kafka.client_left_behind", client=client, seconds=seconds)


class Complaints:
    """What a client says is wrong, each kind of trouble at most every COMPLAINT_SECONDS."""

    def __init__(self) -> None:
        self._said_at: dict[int, float] = {}

    def __call__(self, error: KafkaError) -> None:
        """Log it, unless that was said a moment ago."""
        now = time.monotonic()
        if now - self._said_at.get(error.code(), -COMPLAINT_SECONDS) >= COMPLAINT_SECONDS:
            self._said_at[error.code()] = now
            log.warning("kafka.trouble", code=error.name(), detail=error.str(), fatal=error.fatal())
