"""A real Apache Kafka (KRaft, one node) for tests, from a folder of its jars and a Java runtime."""

import base64
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from confluent_kafka.admin import AdminClient

from infra.local.child import Child, Command
from infra.local.probes import accepts, free_ports
from tests.events.stage import until

START_SECONDS = 90
KILL_SECONDS = 15
QUICK_JAVA = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""It is started often and does little: compiling well would cost more than it brings."""


class KafkaServer:
    """One broker on one address. `replace` makes it another cluster at the same address, with nothing in it."""

    def __init__(self, libs: Path, home: Path, data: Path | None = None, **options: str) -> None:
        """Its data go to `data`, a folder that it makes; `options` are properties with `_` for each dot."""
        self._libs, self._home = libs, home
        self._data = data or home / "kafka-data"
        self._options = {name.replace("_", "."): value for name, value in options.items()}
        self._port, self._controller_port = free_ports(2)
        self._child: Child | None = None

    @property
    def bootstrap(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port}"

    @property
    def is_up(self) -> bool:
        """Whether it listens."""
        return accepts(self._port)

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs, and before it ever ran."""
        return self._child.code if self._child else None

    def begin(self) -> Child:
        """Run it, with what it has on disk, and do not wait until it listens. Who ran before is dead."""
        self.kill()
        if not (self._data / "meta.properties").exists():
            self._format()
        command = Command("kafka-server", self._java("kafka.Kafka", str(self._properties)), self._home / "kafka.log")
        self._child = Child(command)
        return self._child

    def start(self) -> None:
        """Run it, with what it has on disk; it listens."""
        self.begin()
        until(lambda: self.is_up, seconds=START_SECONDS)

    def kill(self) -> None:
        """By SIGKILL. Nothing of it is left."""
        if self._child and self._child.code is None:
            os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait(KILL_SECONDS)

    def make_empty(self) -> None:
        """No topic of ours is left, nor what consumers have remembered of it; it runs."""
        if not self.is_up:
            self.start()
        admin = AdminClient({"bootstrap.servers": self.bootstrap})

        def ours() -> list[str]:
            return [topic for topic in admin.list_topics(timeout=5).topics if not topic.startswith("__")]

        if topics := ours():
            for future in admin.delete_topics(topics).values():
                future.result(timeout=START_SECONDS)
            until(lambda: not ours())

    def replace(self) -> None:
        """Another cluster at the same address."""
        self.kill()
        shutil.rmtree(self._data)
        self.start()

    @property
    def _properties(self) -> Path:
        return self._home / "server.properties"

    def _java(self, *words: str) -> list[str]:
        return ["java", *QUICK_JAVA, "-cp", f"{self._libs}/*", *words]

    def _format(self) -> None:
        options = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self._data),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            # After a kill it is let in again when the controller has forgotten who it was before.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "250",
            **self._options,
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in options.items()))
        # The first byte keeps the id from beginning with a hyphen, which Kafka's tools take for an option.
        cluster_id = base64.urlsafe_b64encode(b"S" + secrets.token_bytes(15)).decode().rstrip("=")
        words = self._java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties))
        subprocess.run(words, check=True, capture_output=True)
