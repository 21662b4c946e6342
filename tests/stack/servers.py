"""The four embedded servers for a test session: own folder, free ports, gone with pytest even if it is killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.child import Child
from infra.local.probes import free_ports
from infra.local.servers import embedded
from infra.local.settings import LocalSettings
from infra.local.stack import Stack, Unit
from infra.secrets import KEYS_FILE, add_key
from infra.settings import Settings, load_settings

GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Servers:
    """Running servers and the settings that point at them."""

    settings: Settings
    environment: dict[str, str]
    """The same as SAGAPAY_… variables, for processes of a test's own."""
    stack: Stack

    def process(self, name: str) -> Child:
        """postgres, valkey, temporal or kafka."""
        return self.unit(name).child  # type: ignore[return-value]

    def unit(self, name: str) -> Unit:
        """The supervised process of that name."""
        return next(unit for unit in self.stack.units if unit.service.name == name)

    def recover(self) -> None:
        """Restart whatever a test has killed, and wait until all is ready again."""
        self.stack.wait_ready()


@contextmanager
def running_servers(home: Path, *, shards: int = 1, **overrides: object) -> Iterator[Servers]:
    """Start the servers; `overrides` are fields of Settings. Raises StartFailed."""
    postgres, redis, temporal, ui, api, bank = free_ports(6)
    local = LocalSettings(
        postgres_port=postgres, redis_port=redis, temporal_port=temporal, temporal_ui_port=ui, shards=shards
    )
    plan = embedded(Settings.model_construct(_fields_set={"state_dir"}, state_dir=home), local)
    ours = {**plan.environment, "SAGAPAY_API_PORT": str(api), "SAGAPAY_BANK_PORT": str(bank)}
    ours["SAGAPAY_BANK_URL"] = f"http://127.0.0.1:{bank}"
    add_key(home / KEYS_FILE)
    ours["SAGAPAY_ENCRYPTION_KEYS_FILE"] = str(home / KEYS_FILE)
    values = {name.removeprefix("SAGAPAY_").lower(): value for name, value in ours.items()}
    stack = Stack()
    try:
        stack.start(plan.services)
        stack.wait_ready()
        yield Servers(load_settings(**{**values, **overrides}), ours, stack)
    finally:
        stack.stop(GRACE_SECONDS)
