"""Tiny roles with which the supervisor itself is tested, and the `sagapay` command over them.

python -m tests.stack.standin up [--detach] | down [--erase] | supervise | prepare | role NAME [PORT]
"""

import http.server
import os
import signal
import sys
import time
from http import HTTPStatus
from pathlib import Path

from infra.local.plan import make_plan
from infra.local.roles import Role
from infra.local.settings import load_local_settings
from infra.local.supervision import supervise
from infra.local.supervisor import run_foreground, start_detached, stop
from infra.settings import load_settings

COMMAND = (sys.executable, "-m", "tests.stack.standin")


class _Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.end_headers()


def _role(name: str) -> None:
    home = Path(os.environ["SAGAPAY_STATE_DIR"])
    if (home / f"{name}.broken").exists():
        sys.exit(f"{name} is broken on purpose")
    if (home / f"{name}.deaf").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if name == "api":
        address = ("127.0.0.1", int(os.environ["SAGAPAY_API_PORT"]))
        http.server.HTTPServer(address, _Ready).serve_forever()
    (home / "ready" / name).write_text(str(os.getpid()))
    time.sleep(3600)


def roles() -> tuple[Role, ...]:
    """One role that answers over HTTP, one that writes a file."""
    return (
        Role("api", (*COMMAND, "role", "api"), "api_port", "/readyz"),
        Role("worker", (*COMMAND, "role", "worker")),
    )


def main(words: list[str]) -> int:
    """Returns the exit code."""
    prepare = (*COMMAND, "prepare")
    match words:
        case ["up"]:
            return run_foreground(roles(), prepare)
        case ["up", "--detach"]:
            return start_detached((*COMMAND, "supervise"))
        case ["supervise"]:
            return supervise(make_plan(load_settings(), load_local_settings(), roles(), prepare), lambda _state: None)
        case ["down", *flags]:
            return stop(erase="--erase" in flags)
        case ["prepare"]:
            return int((load_settings().state_dir / "prepare.broken").exists())
        case ["role", name]:
            _role(name)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
