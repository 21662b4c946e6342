"""What one start will run, decided and checked before anything is started."""

import sys
from dataclasses import dataclass
from pathlib import Path

from domain.errors import SettingsInvalid
from infra.local.probes import port_is_free
from infra.local.roles import PREPARE, ROLES, Role, role_environment, role_ports, wanted_roles
from infra.local.servers import Embedded, embedded
from infra.local.settings import LocalSettings
from infra.settings import Settings

LINUX = sys.platform.startswith("linux")


@dataclass(frozen=True)
class Plan:
    """Servers, the command that prepares them, and the roles."""

    settings: Settings
    local: LocalSettings
    home: Path
    servers: Embedded
    prepare: Role
    roles: tuple[Role, ...]
    environment: dict[str, str]
    """The SAGAPAY_… variables that every role gets."""
    uses_watchdog: bool
    """Whether a watchdog process ends the children of a killed supervisor, and not the kernel."""

    def busy_ports(self) -> list[str]:
        """One sentence for each port that cannot be had, with the setting that changes it."""
        problems: list[str] = []
        owners: dict[int, str] = {}
        for name, port in {**self.servers.ports, **role_ports(self.settings, self.roles)}.items():
            if port in owners:
                problems.append(f"{owners[port]} and {name} are both {port}: set one of them to another port")
            elif not port_is_free(port):
                problems.append(f"port {port} is in use by another program: set {name} to a free port")
            owners[port] = name
        return problems

    def addresses(self) -> dict[str, str]:
        """Where a person finds things."""
        api = f"http://127.0.0.1:{self.settings.api_port}"
        return {
            "api": api,
            "docs": f"{api}/docs",
            "temporal_ui": self.environment.get("SAGAPAY_TEMPORAL_UI_URL", self.settings.temporal_ui_url),
            "bank": self.environment["SAGAPAY_BANK_URL"],
            "postgres": self.environment.get("SAGAPAY_SHARD_URLS", self.settings.shard_urls[0]),
            "logs": str(self.home / "logs"),
        }


def make_plan(
    settings: Settings,
    local: LocalSettings,
    roles: tuple[Role, ...] = ROLES,
    prepare: Role = PREPARE,
) -> Plan:
    """Raises SettingsInvalid for settings that cannot work together or on this system."""
    if local.death == "signal" and not LINUX:
        raise SettingsInvalid("SAGAPAY_LOCAL_DEATH: only Linux has a parent-death signal; use watchdog or auto")
    servers, wanted = embedded(settings, local), wanted_roles(settings, local, roles)
    return Plan(
        settings=settings,
        local=local,
        home=settings.state_dir.resolve(),
        servers=servers,
        prepare=prepare,
        roles=wanted,
        environment={**servers.environment, **role_environment(settings, wanted)},
        uses_watchdog=local.death == "watchdog" or not LINUX,
    )
