"""The three servers that `--infra=containers` takes from images, set up as the embedded ones are."""

import base64
import secrets

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from testcontainers.core.container import DockerContainer

from infra.local.database import answers, ensure_databases
from infra.local.names import APPLICATION, OWNER, database_of
from infra.local.postgres import CONFIGURATION
from infra.local.probes import accepts, free_ports, redis_answers
from infra.local.servers import CACHE_OPTIONS
from tests.stack.containers import Choice, ContainerServer

POSTGRES_HERE = ("listen_addresses", "unix_socket_directories")
"""Settings that depend on where it runs: the image's own preparation needs its socket."""
SHARED_MEMORY = "256m"
METADATA_SECONDS = 2.0


def _on(choice: Choice, name: str, port: int) -> DockerContainer:
    """A container of this server's image in which it listens on `port`, as it does outside."""
    container = DockerContainer(choice.images[name])
    if choice.host_network:
        return container.with_kwargs(network_mode="host")
    container.ports[f"{port}/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment] # It has a method for all addresses.
    return container


def postgres(choice: Choice, port: int, shards: int) -> ContainerServer:
    """With a database for each shard and the two roles, who need no password, once it answers."""
    own = {name: value for name, value in CONFIGURATION.items() if name not in POSTGRES_HERE}
    options = {"port": str(port), "listen_addresses": choice.listen, **own}

    def make() -> DockerContainer:
        words = ["postgres", *(word for name, value in options.items() for word in ("-c", f"{name}={value}"))]
        container = _on(choice, "postgres", port).with_envs(
            POSTGRES_HOST_AUTH_METHOD="trust", POSTGRES_INITDB_ARGS="--encoding=UTF8 --locale=C.UTF-8"
        )
        return container.with_command(words).with_kwargs(**container._kwargs, shm_size=SHARED_MEMORY)

    def is_ready() -> bool:
        if not (accepts(port) and answers(port)):
            return False
        ensure_databases(port, shards)
        return True

    return ContainerServer("postgres", port, make, is_ready)


def redis(choice: Choice, port: int) -> ContainerServer:
    """The cache: the image of Redis or of Valkey."""
    options = {"port": str(port), "bind": choice.listen, "protected-mode": "no", **CACHE_OPTIONS}

    def make() -> DockerContainer:
        # Without the program's name: both images put theirs before options.
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return _on(choice, "valkey", port).with_command(words)

    return ContainerServer("valkey", port, make, lambda: redis_answers(port))


def kafka(choice: Choice, port: int) -> ContainerServer:
    """One node of Apache Kafka in KRaft mode; another cluster each time that it is made."""
    (controller,) = free_ports(1)

    def make() -> DockerContainer:
        # The first byte keeps the id from beginning with a hyphen, which Kafka's tools take for an option.
        cluster = base64.urlsafe_b64encode(b"S" + secrets.token_bytes(15)).decode().rstrip("=")
        return _on(choice, "kafka", port).with_envs(
            CLUSTER_ID=cluster,
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_LISTENERS=f"PLAINTEXT://{choice.listen}:{port},CONTROLLER://127.0.0.1:{controller}",
            KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://127.0.0.1:{port}",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_CONTROLLER_QUORUM_VOTERS=f"1@127.0.0.1:{controller}",
            KAFKA_INTER_BROKER_LISTENER_NAME="PLAINTEXT",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS="1",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
        )

    return ContainerServer("kafka", port, make, lambda: accepts(port) and _broker_answers(f"127.0.0.1:{port}"))


def _broker_answers(bootstrap: str) -> bool:
    """Whether it is a broker that answers: what publishes a container's port accepts before there is one."""
    try:
        client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        return bool(client.list_topics(timeout=METADATA_SECONDS).brokers)
    except KafkaException:
        return False


def urls(role: str, port: int, shards: int) -> str:
    """The shards' databases as this role, as SAGAPAY_SHARD_URLS has them."""
    return ",".join(f"postgresql://{role}@127.0.0.1:{port}/{database_of(shard)}" for shard in range(shards))


def servers_of(choice: Choice, shards: int) -> tuple[list[ContainerServer], dict[str, str]]:
    """The three, not started yet, and the SAGAPAY_… variables that point at them."""
    database, cache, broker = free_ports(3)
    servers = [kafka(choice, broker), postgres(choice, database, shards), redis(choice, cache)]
    return servers, {
        "SAGAPAY_SHARD_URLS": urls(APPLICATION, database, shards),
        "SAGAPAY_MIGRATION_URLS": urls(OWNER, database, shards),
        "SAGAPAY_REDIS_URL": f"redis://127.0.0.1:{cache}/0",
        "SAGAPAY_KAFKA_BOOTSTRAP": f"127.0.0.1:{broker}",
    }
