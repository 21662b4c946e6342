"""The whole platform as a user starts it: `sagapay up --detach` in a folder and on ports of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.local.leftovers import processes_of
from infra.local.probes import free_ports
from infra.local.stack import Status
from infra.local.state import StackState, holder, read_state
from infra.local.watchdog import Watchdog
from infra.settings import Settings, load_settings

SAGAPAY = (sys.executable, "-m", "cli")
REPOSITORY = Path(__file__).parents[2]
COMMAND_SECONDS = 170.0
RESTART_SECONDS = 40.0
PORTS = (
    "SAGAPAY_LOCAL_POSTGRES_PORT",
    "SAGAPAY_LOCAL_REDIS_PORT",
    "SAGAPAY_LOCAL_TEMPORAL_PORT",
    "SAGAPAY_LOCAL_TEMPORAL_UI_PORT",
    "SAGAPAY_API_PORT",
    "SAGAPAY_BANK_PORT",
)


def until(what: str, check: Callable[[], bool], seconds: float = RESTART_SECONDS) -> None:
    """Wait for it. Raises AssertionError with these words if it does not come."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


class Platform:
    """One platform of a test's own. `variables` are further SAGAPAY_… variables; `command` stands for `sagapay`."""

    def __init__(self, home: Path, command: Sequence[str] = SAGAPAY, **variables: str) -> None:
        self.home = home.resolve()
        self.command = tuple(command)
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        ours = {name: str(port) for name, port in self.ports.items()}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAGAPAY_")}
        self.environment = {**inherited, **ours, "SAGAPAY_STATE_DIR": str(self.home), **variables}
        self._killed: dict[str, int | None] = {}
        self._tether: Watchdog | None = None
        self._tied = 0

    # -- commands ----------------------------------------------------------------------------------

    def run(self, *words: str, seconds: float = COMMAND_SECONDS) -> "subprocess.CompletedProcess[str]":
        """Run the command with these words to its end; output and errors are in `stdout`."""
        return subprocess.run(
            [*self.command, *words],
            env=self.environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Run the command with these words and return at once."""
        return subprocess.Popen(
            [*self.command, *words],
            env=self.environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def up(self) -> str:
        """Start it in the background. Returns what the command said. Raises AssertionError if it failed."""
        result = self.run("up", "--detach")
        assert result.returncode == 0, result.stdout
        self._tie_to_this_process()
        return result.stdout

    def down(self, *flags: str) -> str:
        """Stop it. Returns what the command said."""
        result = self.run("down", *flags)
        assert result.returncode == 0, result.stdout
        self.untie()
        return result.stdout

    def _tie_to_this_process(self) -> None:
        """A background platform would outlive a killed test run."""
        self.untie()
        self._tether, self._tied = Watchdog(), self.state().supervisor_pid
        os.write(self._tether.descriptor, b"+%d %d\n" % (self._tied, signal.SIGTERM))

    def untie(self) -> None:
        """The platform has ended, or may go on without this process."""
        if self._tether:
            self._tether.forget(self._tied)
            self._tether.close()
            self._tether = None

    # -- what runs ---------------------------------------------------------------------------------

    def state(self) -> StackState:
        """The content of stack.json."""
        state = read_state(self.home)
        assert state, f"no stack.json in {self.home}"
        return state

    def pid(self, name: str) -> int:
        """The process id of a server (postgres, valkey, temporal, kafka) or role."""
        pid = self.state().processes[name].pid
        assert pid, f"{name} does not run"
        return pid

    def processes(self) -> list[int]:
        """Every living process of this platform but its supervisor, found without stack.json."""
        return list(processes_of(self.home))

    def runs(self) -> bool:
        """Whether a supervisor holds the folder."""
        return holder(self.home) is not None

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a server, a role, or the `supervisor`."""
        if name == "supervisor":
            os.kill(self.state().supervisor_pid, number)
            return
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self._killed[name] = self.pid(name)
        os.kill(self.pid(name), number)

    def wait_restarted(self, name: str, seconds: float = RESTART_SECONDS) -> None:
        """Wait until the supervisor has another process of this name ready than the one that `kill` hit."""

        def again() -> bool:
            process = self.state().processes[name]
            return process.status is Status.READY and process.pid != self._killed.get(name)

        until(f"{name} is restarted", again, seconds)

    def log(self, name: str) -> str:
        """What a process wrote so far."""
        return self.state().processes[name].log.read_text(errors="replace")

    # -- how to reach it ---------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """Settings that point at it, as its roles have them."""
        environment = self.state().environment
        return load_settings(**{k.removeprefix("SAGAPAY_").lower(): v for k, v in environment.items()})

    @property
    def api_url(self) -> str:
        """The API's address."""
        return f"http://127.0.0.1:{self.ports['SAGAPAY_API_PORT']}"

    @property
    def bank_url(self) -> str:
        """The simulated bank's address."""
        return f"http://127.0.0.1:{self.ports['SAGAPAY_BANK_PORT']}"

    @property
    def app_key(self) -> str:
        """The development client's API key."""
        return str(json.loads((self.home / "development.json").read_text())["app_key"])

    @property
    def operator_key(self) -> str:
        """The development client's operator key."""
        return str(json.loads((self.home / "development.json").read_text())["operator_key"])
