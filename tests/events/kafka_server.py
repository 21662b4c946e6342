"""A real Apache Kafka (KRaft, one node) for tests, from a folder of its jars and a Java runtime."""

import base64
import secrets
import shutil
import subprocess
from pathlib import Path

from infra.local.child import Child, Command
from infra.local.probes import accepts, free_ports
from tests.events.stage import until

START_SECONDS = 90


class KafkaServer:
    """One broker on one address. `replace` makes it another cluster at the same address, with nothing in it."""

    def __init__(self, libs: Path, home: Path) -> None:
        self._libs, self._home = libs, home
        self._data = home / "kafka-data"
        self._port, self._controller_port = free_ports(2)
        self._child: Child | None = None

    @property
    def bootstrap(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Run it, with what it has on disk."""
        if not self._data.exists():
            self._format()
        command = Command("kafka-server", self._java("kafka.Kafka", str(self._properties)), self._home / "kafka.log")
        self._child = Child(command)
        until(lambda: accepts(self._port), seconds=START_SECONDS)

    def kill(self) -> None:
        """As by SIGKILL."""
        if self._child:
            self._child.stop(grace_seconds=0)

    def replace(self) -> None:
        """Another cluster at the same address."""
        self.kill()
        shutil.rmtree(self._data)
        self.start()

    @property
    def _properties(self) -> Path:
        return self._home / "server.properties"

    def _java(self, *words: str) -> list[str]:
        return ["java", "-Xmx512m", "-cp", f"{self._libs}/*", *words]

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
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in options.items()))
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        words = self._java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties))
        subprocess.run(words, check=True, capture_output=True)
