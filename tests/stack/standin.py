"""The `sagapay` command over tiny stand-in roles, with which the supervisor itself is tested.

python -m tests.stack.standin up [--detach] | down [--erase]
"""

import sys
from pathlib import Path

from infra.local.roles import Role
from infra.local.supervisor import run_foreground, start_detached, stop

COMMAND = (sys.executable, "-m", "tests.stack.standin")
ROLE = (sys.executable, "-S", str(Path(__file__).with_name("standin_role.py")))
ROLES = (
    Role("api", (*ROLE, "api"), "api_port", "/readyz"),
    Role("worker", (*ROLE, "worker")),
)
PREPARE = Role("prepare", (*ROLE, "prepare"))


def main(words: list[str]) -> int:
    """Returns the exit code."""
    match words:
        case ["up"]:
            return run_foreground(ROLES, PREPARE)
        case ["up", "--detach"]:
            return start_detached(ROLES, PREPARE)
        case ["down", *flags]:
            return stop(erase="--erase" in flags)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
