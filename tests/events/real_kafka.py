"""Fixtures of tests on a real Apache Kafka: `SAGAPAY_TEST_KAFKA_LIBS` names a folder of its jars.

`make test-kafka` gets them and sets it. Without the setting these tests are skipped.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.events.kafka_server import KafkaServer
from tests.events.stage import Stage, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers

QUIET_SECONDS = 2.0
"""After twice as long a consumer asks for what it has missed: tests do not wait a minute for it."""
AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
OPEN = {"allow_everyone_if_no_acl_found": "true"}
"""Everybody may do everything until a test takes a right away."""


@pytest.fixture(scope="session")
def kafka_libs() -> Path:
    """Kafka's jars."""
    libs = os.environ.get("SAGAPAY_TEST_KAFKA_LIBS")
    if not libs or not shutil.which("java"):
        pytest.skip("SAGAPAY_TEST_KAFKA_LIBS names no jars, or no Java")
    return Path(libs)


@pytest.fixture(scope="session")
def one_kafka(kafka_libs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The one broker of this session: starting one takes longer than most tests."""
    server = KafkaServer(kafka_libs, tmp_path_factory.mktemp("kafka"), authorizer_class_name=AUTHORIZER, **OPEN)
    yield server
    server.kill()


@pytest.fixture
def kafka(one_kafka: KafkaServer) -> KafkaServer:
    """The session's broker, running and without topics."""
    one_kafka.make_empty()
    return one_kafka


@pytest.fixture
def kafka_stage(databases: Databases, bare_servers: Servers, tmp_path: Path, kafka: KafkaServer) -> Iterator[Stage]:
    """A stage with the real broker."""
    own = {"kafka_bootstrap": kafka.bootstrap, "consumer_quiet_seconds": QUIET_SECONDS}
    with databases.copy() as database, staged([database], bare_servers.settings, tmp_path, **own) as made:
        yield made
