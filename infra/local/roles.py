"""The roles as data: which command each is, and how it says that it is ready."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.local.child import Command
from infra.local.probes import http_status, names_pid
from infra.local.servers import log_of
from infra.local.service import Service
from infra.settings import Settings

READY_FOLDER = "ready"
ANY_HOST = ("0.0.0.0", "::")  # noqa: S104  -- compared with, never bound to


@dataclass(frozen=True)
class Role:
    """A role is ready when its path answers 200, or without a path when `ready/NAME` holds its process id."""

    name: str
    argv: tuple[str, ...]
    port_setting: str | None = None
    path: str = ""


def _cli(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "cli", name)


BANK = Role("bank", _cli("bank"), "bank_port", "/livez")
ROLES: tuple[Role, ...] = (
    BANK,
    Role("worker", _cli("worker")),
    Role("api", _cli("api"), "api_port", "/readyz"),
    Role("relay", _cli("relay")),
    Role("consumers", _cli("consumers")),
)
PREPARE: tuple[str, ...] = _cli("prepare")


def wanted_roles(settings: Settings, roles: tuple[Role, ...] = ROLES) -> tuple[Role, ...]:
    """All of them, but no simulated bank where the settings name one that runs elsewhere."""
    return tuple(role for role in roles if role is not BANK or "bank_url" not in settings.model_fields_set)


def role_environment(settings: Settings) -> dict[str, str]:
    """Where the roles listen and find each other, beside what the servers add."""
    host = "127.0.0.1" if settings.bank_host in ANY_HOST else settings.bank_host
    ours = f"http://{host}:{settings.bank_port}"
    return {
        "SAGAPAY_API_PORT": str(settings.api_port),
        "SAGAPAY_BANK_PORT": str(settings.bank_port),
        "SAGAPAY_BANK_URL": settings.bank_url if "bank_url" in settings.model_fields_set else ours,
    }


def role_ports(settings: Settings, roles: tuple[Role, ...]) -> dict[str, int]:
    """Environment variable → port, of the roles that listen."""
    names = [role.port_setting for role in roles if role.port_setting]
    return {f"SAGAPAY_{name.upper()}": int(getattr(settings, name)) for name in names}


def as_service(role: Role, home: Path, settings: Settings, environment: dict[str, str]) -> Service:
    """The role as a process for the supervisor."""
    ready_file = home / READY_FOLDER / role.name

    def before_start() -> None:
        ready_file.parent.mkdir(exist_ok=True)
        ready_file.unlink(missing_ok=True)

    return Service(
        command=Command(role.name, role.argv, log_of(home, role.name), environment),
        is_ready=_probe(role, ready_file, settings),
        before_start=before_start,
    )


def _probe(role: Role, ready_file: Path, settings: Settings) -> Callable[[int], bool]:
    if role.port_setting is None:
        return lambda pid: names_pid(ready_file, pid)
    port = int(getattr(settings, role.port_setting))
    listens_on = str(getattr(settings, role.port_setting.replace("_port", "_host")))
    host = "127.0.0.1" if listens_on in ANY_HOST else listens_on
    return lambda _pid: http_status(port, role.path, host) == 200
