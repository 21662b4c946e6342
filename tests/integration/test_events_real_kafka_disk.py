"""A real Apache Kafka whose disk is full: it ends, events wait; with room again all arrive once."""

from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path

import pytest
import structlog

from events.metrics import LAG
from tests.events.kafka_server import KafkaServer
from tests.events.outbox_rows import Row, transaction_event
from tests.events.real_kafka import QUIET_SECONDS
from tests.events.small_disk import SmallDisk, small_disk
from tests.events.stage import Recorder, Stage, eventually, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers

pytestmark = pytest.mark.slow

SMALL_MEGABYTES = 12
LARGE_MEGABYTES = 96
LEFT_BYTES = 512 * 1024
SMALL_INDEXES = {"log_index_size_max_bytes": "65536", "offsets_topic_segment_bytes": "1048576"}
"""Kafka takes 10 MB for each index ahead of its use, and gives back what is not used when it ends in order."""


def some(count: int) -> list[Row]:
    return [transaction_event(memo_bytes=2000) for _ in range(count)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", SMALL_MEGABYTES) as mounted:
        yield mounted


@pytest.fixture
def cramped(kafka_libs: Path, tmp_path: Path, disk: SmallDisk) -> Iterator[KafkaServer]:
    """A broker that has all it keeps on the small disk."""
    server = KafkaServer(kafka_libs, tmp_path, disk.folder / "kafka-data", **SMALL_INDEXES)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path, cramped: KafkaServer) -> Iterator[Stage]:
    own = {"kafka_bootstrap": cramped.bootstrap, "consumer_quiet_seconds": QUIET_SECONDS}
    with databases.copy() as database, staged([database], bare_servers.settings, tmp_path, **own) as made:
        yield made


async def test_a_full_disk_delays_events_and_loses_none(stage: Stage, cramped: KafkaServer, disk: SmallDisk) -> None:
    with structlog.testing.capture_logs() as logs:
        async with stage.relay(), stage.consumer(Recorder()):
            stage.tell(*some(100))
            await stage.until_all_applied()
            disk.fill(free_bytes=LEFT_BYTES)
            for _ in range(10):
                stage.tell(*some(100))
            await eventually(lambda: cramped.code is not None, "the broker to end")
            stage.tell(*some(100))
            await eventually(lambda: lag_seconds() > 3, "the lag to grow")
            await eventually(lambda: has_told(logs, lag_seconds=3), "the relay to say what is wrong, and since when")
            assert stage.published() < 1200
            disk.grow(LARGE_MEGABYTES)
            cramped.start()
            await stage.until_all_applied()
            await eventually(lambda: lag_seconds() == 0, "nothing to wait")


def has_told(logs: Sequence[MutableMapping[str, object]], lag_seconds: float) -> bool:
    """Whether the relay has logged that it waits, why, and that something has waited for longer than this."""
    told = [log for log in logs if log["event"] == "relay.waits" and str(log["reason"]).startswith("Kafka at")]
    return any(float(str(log["lag_seconds"])) > lag_seconds for log in told)


def lag_seconds() -> float:
    """What the relay tells Prometheus."""
    [metric] = LAG.collect()
    return next(sample.value for sample in metric.samples if sample.labels == {"shard": "0"})
