"""PostgreSQL, Redis and Kafka of a test session in containers, made by testcontainers (`--infra=containers`)."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
SERVICES = {"postgres": "postgres", "valkey": "redis", "kafka": "kafka"}
"""A server's name in the embedded stack → in docker-compose.yml."""
ENGINE_SECONDS = 10
READY_SECONDS = 90.0
PROBE_INTERVAL_SECONDS = 0.05


class ContainersUnavailable(RuntimeError):
    """There is no engine, or no image. The message says what is missing, in a sentence."""


@dataclass(frozen=True)
class Choice:
    """What a session has asked for: an image for each of `SERVICES`, and the network they are on."""

    images: dict[str, str]
    host_network: bool = False
    """Share the machine's network, for an engine without a bridge; otherwise ports are published on 127.0.0.1."""

    @property
    def listen(self) -> str:
        """The address on which a server in a container has to listen."""
        return "127.0.0.1" if self.host_network else "0.0.0.0"

    def check(self) -> None:
        """Nothing that can be known beforehand is missing; images are pulled. Raises ContainersUnavailable."""
        try:
            client = DockerClient(timeout=ENGINE_SECONDS).client
            client.ping()
            client.close()
        except (DockerException, OSError) as error:
            sentence = f"no Docker engine answers (start one, or name it in DOCKER_HOST): {error}"
            raise ContainersUnavailable(sentence) from error
        if self.host_network:
            testcontainers_config.ryuk_disabled = True  # It is reached by a published port, of which there are none.
        wanted = set(self.images.values())
        if not testcontainers_config.ryuk_disabled:
            wanted.add(testcontainers_config.ryuk_image)
        with _client() as docker:
            for image in sorted(wanted):
                _have(docker, image)


@contextmanager
def _client() -> Iterator[DockerClient]:
    docker = DockerClient()
    try:
        yield docker
    finally:
        docker.client.close()


def _have(docker: DockerClient, image: str) -> None:
    try:
        docker.client.images.get(image)
    except ImageNotFound:
        try:
            docker.client.images.pull(image)
        except (DockerException, OSError) as error:
            sentence = f"the image {image} is not on this machine, and cannot be pulled: {error}"
            raise ContainersUnavailable(sentence) from error


@cache
def compose_images() -> dict[str, str]:
    """The image of each server, as docker-compose.yml has it."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    return {name: services[service]["image"] for name, service in SERVICES.items()}


class ContainerServer:
    """One server in a container, always on the same address. What it has on disk lives as long as the container."""

    def __init__(self, name: str, port: int, make: Callable[[], DockerContainer], answers: Callable[[], bool]) -> None:
        self.name, self.bootstrap = name, f"127.0.0.1:{port}"
        self._make, self._answers = make, answers
        self._made: DockerContainer | None = None

    @property
    def _container(self) -> Container:
        assert self._made is not None, f"{self.name} was not started"
        container = self._made.get_wrapped_container()
        container.reload()
        return container

    def begin(self) -> None:
        """Run it, with what it has on disk; `wait_ready` waits for it."""
        if self._made is None:
            self._made = self._make()
            self._made.start()
        elif self._container.status == "paused":
            self._container.unpause()
        elif self._container.status != "running":
            self._container.start()

    def wait_ready(self) -> None:
        """Until it answers. Raises AssertionError, with the end of its log, if it ends or is late."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            wrong = f"has {self._container.status}" if self._container.status != "running" else ""
            wrong = wrong or (f"does not answer after {READY_SECONDS:g} s" if time.monotonic() > deadline else "")
            assert not wrong, f"{self.name} {wrong}: {self._container.logs(tail=20).decode(errors='replace')}"
            time.sleep(PROBE_INTERVAL_SECONDS)

    def start(self) -> None:
        """Run it, with what it has on disk; it answers."""
        self.begin()
        self.wait_ready()

    def kill(self) -> None:
        """By SIGKILL; it has ended."""
        if self._container.status in ("running", "paused"):
            self._container.kill("SIGKILL")
            self._container.wait()

    def pause(self) -> None:
        """Freeze it: connections stay, answers do not come."""
        self._container.pause()

    def resume(self) -> None:
        """The opposite of `pause`; nothing where it is not paused."""
        if self._container.status == "paused":
            self._container.unpause()

    def replace(self) -> None:
        """Another one at the same address, with nothing in it; it answers."""
        self.remove()
        self.start()

    def remove(self) -> None:
        """Nothing of it is left."""
        if self._made is not None:
            with suppress(ImageNotFound):
                self._made.stop()
            self._made = None


@contextmanager
def running_containers(servers: list[ContainerServer]) -> Iterator[dict[str, ContainerServer]]:
    """All of them, started side by side and ready; gone afterwards. Raises AssertionError if one does not start."""
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.remove)
            server.begin()
        for server in servers:
            server.wait_ready()
        yield {server.name: server for server in servers}
