"""The API and the worker as processes of their own, on the session's servers."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.child import Child, Command
from infra.local.probes import free_ports, http_status
from tests.stack.platform import until
from tests.stack.servers import Servers

GRACE_SECONDS = 15.0


@dataclass(frozen=True)
class Roles:
    """The API's address, and the processes by the names of their roles."""

    url: str
    processes: dict[str, Child]


@contextmanager
def running_roles(
    servers: Servers, home: Path, *roles: str, port: int | None = None, **variables: str
) -> Iterator[Roles]:
    """Start roles by their command names, the API on `port` or a free one. `variables` are SAGAPAY_… variables."""
    port = port or free_ports(1)[0]
    environment = {**servers.environment, "SAGAPAY_API_PORT": str(port), "SAGAPAY_STATE_DIR": str(home), **variables}
    found = Roles(f"http://127.0.0.1:{port}", {})
    with ExitStack() as stack:
        for role in roles:
            argv = [sys.executable, "-m", "cli", role]
            child = Child(Command(name=role, argv=argv, log=home / f"{role}.log", environment=environment))
            found.processes[role] = child
            stack.callback(child.stop, GRACE_SECONDS)
        until("the API is ready", lambda: http_status(port, "/readyz") == 200)
        yield found
