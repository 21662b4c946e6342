"""The roles as data: which command each is, and how it says that it is ready."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from infra.local.child import Command
from infra.local.probes import http_status, names_pid
from infra.local.servers import log_of
from infra.local.service import Service
from infra.local.settings import LocalSettings
from infra.settings import Settings
from infra.settings import settings as settings_of_this_process

READY_FOLDER = "ready"
ANY_HOST = ("0.0.0.0", "::")  # noqa: S104  -- compared with, never bound to


@dataclass(frozen=True)
class Role:
    """A role is ready when its path answers 200, or without a path when `ready/NAME` holds its process id."""

    name: str
    argv: tuple[str, ...]
    port_setting: str | None = None
    path: str = ""
    module: str | None = None
    """Where its code is, for a supervisor that loads it once; None for a program that is not the `sagapay` command."""
    is_called: bool = False
    """Other roles need it to finish what they are doing, so it is stopped after them."""


def _cli(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "cli", name)


BANK = Role("bank", _cli("bank"), "bank_port", "/livez", module="bank_adapters.simulator.server")
LEDGER = Role("ledger", _cli("ledger"), "ledger_port", module="ledger.server", is_called=True)
"""Runs where the settings of the stack ask for it."""
ROLES: tuple[Role, ...] = (
    BANK,
    Role("worker", _cli("worker"), module="worker"),
    Role("api", _cli("api"), "api_port", "/readyz", module="api.server"),
    Role("relay", _cli("relay"), module="events.relay"),
    Role("consumers", _cli("consumers"), module="events.consumers"),
)
PREPARE = Role("prepare", _cli("prepare"), module="commands.prepare")
"""Runs once between the servers and the roles, and ends."""


def command_of(role: Role, home: Path, environment: dict[str, str], preloaded: bool) -> Command:
    """The role as a command; with `preloaded`, a copy of this process is enough to run it."""
    program = partial(_run_loaded, role.name) if preloaded and role.module else None
    return Command(role.name, role.argv, log_of(home, role.name), environment, preloaded=program)


def _run_loaded(name: str) -> int:
    """`sagapay NAME` in this process. Raises SystemExit as the command does."""
    settings_of_this_process.cache_clear()
    sys.argv = ["sagapay", name]
    import_module("cli").main()
    return 0


def wanted_roles(settings: Settings, local: LocalSettings, roles: tuple[Role, ...] = ROLES) -> tuple[Role, ...]:
    """All of them, but no bank and no ledger of ours where the settings name one that runs elsewhere."""
    named = settings.model_fields_set
    wanted = tuple(role for role in roles if role is not BANK or "bank_url" not in named)
    return (LEDGER, *wanted) if local.ledger and "ledger_address" not in named else wanted


def role_environment(settings: Settings, roles: tuple[Role, ...]) -> dict[str, str]:
    """Where these roles listen and find each other, beside what the servers add."""
    ours = f"http://{_reached(settings.bank_host)}:{settings.bank_port}"
    environment = {
        "SAGAPAY_API_PORT": str(settings.api_port),
        "SAGAPAY_BANK_PORT": str(settings.bank_port),
        "SAGAPAY_BANK_URL": settings.bank_url if "bank_url" in settings.model_fields_set else ours,
    }
    if BANK in roles:
        api = f"http://{_reached(settings.api_host)}:{settings.api_port}"
        environment["SAGAPAY_BANK_WEBHOOK_URL"] = settings.bank_webhook_url or f"{api}/v1/bank-events/simulator"
    if LEDGER in roles:
        environment["SAGAPAY_LEDGER_PORT"] = str(settings.ledger_port)
        environment["SAGAPAY_LEDGER_ADDRESS"] = f"{_reached(settings.ledger_host)}:{settings.ledger_port}"
    return environment


def _reached(host: str) -> str:
    return "127.0.0.1" if host in ANY_HOST else host


def role_ports(settings: Settings, roles: tuple[Role, ...]) -> dict[str, int]:
    """Environment variable → port, of the roles that listen."""
    names = [role.port_setting for role in roles if role.port_setting]
    return {f"SAGAPAY_{name.upper()}": int(getattr(settings, name)) for name in names}


def groups(roles: Sequence[Role]) -> list[list[Role]]:
    """In the order in which they start; each group is stopped when the later ones have ended."""
    called = [role for role in roles if role.is_called]
    return [group for group in (called, [role for role in roles if not role.is_called]) if group]


def as_service(role: Role, home: Path, settings: Settings, command: Command) -> Service:
    """The role as a process for the supervisor."""
    ready_file = home / READY_FOLDER / role.name

    def before_start() -> None:
        ready_file.parent.mkdir(exist_ok=True)
        ready_file.unlink(missing_ok=True)

    return Service(
        command=command,
        is_ready=_probe(role, ready_file, settings),
        before_start=before_start,
    )


def _probe(role: Role, ready_file: Path, settings: Settings) -> Callable[[int], bool]:
    if role.port_setting is None or not role.path:
        return lambda pid: names_pid(ready_file, pid)
    port = int(getattr(settings, role.port_setting))
    host = _reached(str(getattr(settings, role.port_setting.replace("_port", "_host"))))
    return lambda _pid: http_status(port, role.path, host) == 200
