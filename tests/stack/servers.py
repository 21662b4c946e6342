"""The four servers of a test session: own folder, free ports. Embedded ones end with pytest, even if it is killed."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from infra.local.probes import free_ports
from infra.local.servers import embedded
from infra.local.settings import LocalSettings
from infra.local.stack import Stack, Unit
from infra.secrets import KEYS_FILE, add_key
from infra.settings import Settings, load_settings

if TYPE_CHECKING:
    from tests.stack.containers import Choice, ContainerServer

GRACE_SECONDS = 5.0
KILL_SECONDS = 10.0


class Process(Protocol):
    """A server that a test may harm; `Servers.recover` makes all well again."""

    def kill(self) -> None:
        """By SIGKILL; it has ended."""

    def pause(self) -> None:
        """Freeze it: connections stay, answers do not come."""

    def resume(self) -> None:
        """The opposite of `pause`; nothing where it is not paused."""


@dataclass(frozen=True)
class EmbeddedProcess:
    """A child of this process."""

    unit: Unit

    def kill(self) -> None:
        """Raises AssertionError if it ended before, or otherwise."""
        child = self.unit.child
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait(KILL_SECONDS) == -signal.SIGKILL

    def pause(self) -> None:
        """By SIGSTOP."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """By SIGCONT."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self.unit.child and self.unit.child.code is None:
            os.kill(self.unit.child.pid, number)


@dataclass(frozen=True)
class Servers:
    """Running servers and the settings that point at them."""

    settings: Settings
    environment: dict[str, str]
    """The same as SAGAPAY_… variables, for processes of a test's own."""
    stack: Stack
    """Those that are embedded."""
    containers: "Mapping[str, ContainerServer]" = field(default_factory=dict)
    """Those that are not, by the same names."""

    def process(self, name: str) -> Process:
        """postgres, valkey, temporal or kafka."""
        return self.containers.get(name) or EmbeddedProcess(self.unit(name))

    def unit(self, name: str) -> Unit:
        """The supervised process of that name; StopIteration if it is in a container."""
        return next(unit for unit in self.stack.units if unit.service.name == name)

    def recover(self) -> None:
        """Restart whatever a test has killed, and wait until all is ready again."""
        for server in self.containers.values():
            server.start()
        self.stack.wait_ready()


@contextmanager
def running_servers(
    home: Path, *, shards: int = 1, containers: "Choice | None" = None, **overrides: object
) -> Iterator[Servers]:
    """Start the servers, all but Temporal in containers if so chosen; `overrides` are fields of Settings.

    Raises StartFailed, or AssertionError for a container.
    """
    postgres, redis, temporal, ui, api, bank = free_ports(6)
    local = LocalSettings(
        postgres_port=postgres, redis_port=redis, temporal_port=temporal, temporal_ui_port=ui, shards=shards
    )
    stack = Stack()
    with ExitStack() as cleanup:
        elsewhere, addresses = _in_containers(cleanup, containers, shards)
        named = {name.removeprefix("SAGAPAY_").lower() for name in addresses}
        plan = embedded(Settings.model_construct(_fields_set={"state_dir", *named}, state_dir=home), local)
        ours = {**plan.environment, **addresses, "SAGAPAY_API_PORT": str(api), "SAGAPAY_BANK_PORT": str(bank)}
        ours["SAGAPAY_BANK_URL"] = f"http://127.0.0.1:{bank}"
        add_key(home / KEYS_FILE)
        ours["SAGAPAY_ENCRYPTION_KEYS_FILE"] = str(home / KEYS_FILE)
        values = {name.removeprefix("SAGAPAY_").lower(): value for name, value in ours.items()}
        cleanup.callback(stack.stop, GRACE_SECONDS)
        stack.start(plan.services)
        stack.wait_ready()
        yield Servers(load_settings(**{**values, **overrides}), ours, stack, elsewhere)


def _in_containers(
    cleanup: ExitStack, choice: "Choice | None", shards: int
) -> "tuple[Mapping[str, ContainerServer], Mapping[str, str]]":
    """The servers in containers, which run until the cleanup, and the SAGAPAY_… variables that point at them."""
    if choice is None:
        return {}, {}
    # Who runs outside a test session, such as benchmarks, has nothing to do with Docker.
    containers = import_module("tests.stack.containers")
    servers, addresses = import_module("tests.stack.containerized").servers_of(choice, shards)
    return cleanup.enter_context(containers.running_containers(servers)), addresses
