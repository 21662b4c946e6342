"""Fixtures of tests on a real Apache Kafka: `SAGAPAY_TEST_KAFKA_LIBS` names a folder of its jars.

`make test-kafka` gets them and sets it. With `--infra=containers` a `broker` is the session's container. Without either
these tests are skipped.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

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


class Broker(Protocol):
    """A real Kafka, whatever it runs in. `replace` makes it another cluster at the same address, with nothing in it."""

    @property
    def bootstrap(self) -> str:
        """Where it listens."""
        ...

    def start(self) -> None:
        """Run it, with what it has on disk; it answers."""
        ...

    def kill(self) -> None:
        """By SIGKILL."""
        ...

    def replace(self) -> None:
        """Another cluster at the same address."""
        ...


@pytest.fixture(scope="session")
def kafka_libs() -> Path:
    """Kafka's jars."""
    libs = os.environ.get("SAGAPAY_TEST_KAFKA_LIBS")
    if not libs or not shutil.which("java"):
        pytest.skip("SAGAPAY_TEST_KAFKA_LIBS names no jars, or no Java; and no --infra=containers")
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
def broker(request: pytest.FixtureRequest, bare_servers: Servers) -> Iterator[Broker]:
    """The session's container, made anew, or else what `kafka` is."""
    if container := bare_servers.containers.get("kafka"):
        container.replace()
        yield container
        bare_servers.recover()
    else:
        yield request.getfixturevalue("kafka")


@pytest.fixture
def kafka_stage(databases: Databases, bare_servers: Servers, tmp_path: Path, broker: Broker) -> Iterator[Stage]:
    """A stage with the real broker."""
    own = {"kafka_bootstrap": broker.bootstrap, "consumer_quiet_seconds": QUIET_SECONDS}
    with databases.copy() as database, staged([database], bare_servers.settings, tmp_path, **own) as made:
        yield made
