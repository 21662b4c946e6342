"""What `sagapay up`, `sagapay up --detach` and `sagapay down` do. Each returns an exit code and says what happened."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from domain.errors import SettingsInvalid
from infra.local.fork import Forked, fork_off
from infra.local.plan import Plan, make_plan
from infra.local.progress import Progress, print_addresses, print_failure
from infra.local.roles import PREPARE, ROLES, Role
from infra.local.servers import log_of
from infra.local.settings import load_local_settings
from infra.local.stack import Status, last_lines
from infra.local.state import AlreadyRunning, StackState, exclusive, holder, read_state
from infra.local.supervision import supervise
from infra.settings import load_settings

FOLLOW_SECONDS = 0.1
DOWN_SECONDS = 60.0
ERASED = ("data", "logs", "ready")


def run_foreground(roles: tuple[Role, ...] = ROLES, prepare: Role = PREPARE) -> int:
    """Run the platform until Ctrl-C or a signal. If one already runs, say where, and return 0."""
    console = Console()
    plan = _plan(console, roles, prepare)
    if plan is None:
        return 1
    announced = False

    def report(state: StackState) -> None:
        nonlocal announced
        progress.show(state)
        if state.phase == "ready" and not announced:
            announced = True
            _announce(console, state, plan.home)
            console.print("Ctrl-C stops everything.")
        elif state.phase == "failed":
            print_failure(console, state)

    try:
        with Progress(console) as progress:
            return supervise(plan, report)
    except AlreadyRunning:
        return _follow_running(console, plan.home, holder(plan.home) or 0)


def start_detached(roles: tuple[Role, ...] = ROLES, prepare: Role = PREPARE) -> int:
    """Start the platform in the background; return when it is ready (0), or say which process failed (1)."""
    console = Console()
    plan = _plan(console, roles, prepare)
    if plan is None:
        return 1
    _let_it_stop(plan.home)
    if running := holder(plan.home):
        return _follow_running(console, plan.home, running)
    log = log_of(plan.home, "supervisor")
    log.parent.mkdir(parents=True, exist_ok=True)
    supervisor = Forked(fork_off(lambda: supervise(plan, lambda _state: None), log))
    try:
        return _follow(console, plan.home, supervisor.pid, lambda: supervisor.poll() is None)
    except KeyboardInterrupt:
        console.print("stopping again ...")
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait()
        return 130


def stop(erase: bool = False) -> int:
    """Stop what runs, and with `erase` delete its data. Returns 0 when nothing of it is left."""
    console = Console()
    home = load_settings().state_dir.resolve()
    pid = holder(home)
    if pid is None:
        console.print("nothing runs")
    elif not _end(console, home, pid):
        return 1
    if erase and home.exists():
        with exclusive(home):
            _erase(home)
        console.print(f"deleted the data in {home}", soft_wrap=True)
    return 0


def _plan(console: Console, roles: tuple[Role, ...] = ROLES, prepare: Role = PREPARE) -> Plan | None:
    try:
        return make_plan(load_settings(), load_local_settings(), roles, prepare)
    except SettingsInvalid as error:
        console.print(f"[red]✗[/] {error.detail}", soft_wrap=True)
        return None


def _announce(console: Console, state: StackState, home: Path) -> None:
    console.print("[green]Sagapay is ready.[/]")
    print_addresses(console, state, home)


def _let_it_stop(home: Path) -> None:
    """A stack that is on its way down is waited for, so that `down` and `up` may follow each other at once."""
    deadline = time.monotonic() + DOWN_SECONDS
    while (state := read_state(home)) and state.phase in ("stopping", "failed", "stopped") and holder(home):
        if time.monotonic() > deadline:
            return
        time.sleep(FOLLOW_SECONDS)


def _follow(console: Console, home: Path, pid: int, runs: Callable[[], bool]) -> int:
    """Show another process's start until it is ready or has failed."""
    with Progress(console) as progress:
        while True:
            running, state = runs(), read_state(home)
            if state is not None and state.supervisor_pid == pid:
                progress.show(state)
                if running and state.phase == "ready":
                    break
            if not running:
                return _say_why(console, home, state if state and state.supervisor_pid == pid else None)
            time.sleep(FOLLOW_SECONDS)
    _announce(console, state, home)
    return 0


def _follow_running(console: Console, home: Path, pid: int) -> int:
    console.print("Sagapay already runs.")
    if (state := read_state(home)) and state.supervisor_pid == pid and state.phase == "ready":
        print_addresses(console, state, home)
        return 0
    return _follow(console, home, pid, lambda: holder(home) == pid)


def _say_why(console: Console, home: Path, state: StackState | None) -> int:
    if state and state.failure:
        print_failure(console, state)
        return 1
    console.print("[red]✗[/] the supervisor ended before the platform was ready")
    for line in last_lines(log_of(home, "supervisor")):
        console.print(f"  {line}", markup=False, style="dim", soft_wrap=True)
    return 1


def _end(console: Console, home: Path, supervisor_pid: int) -> bool:
    os.kill(supervisor_pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    with Progress(console, Status.STOPPED) as progress:
        while holder(home):
            if time.monotonic() > deadline:
                console.print(f"[red]✗[/] the supervisor (process {supervisor_pid}) does not end")
                return False
            if (state := read_state(home)) and state.phase == "stopping":
                progress.show(state)
            time.sleep(FOLLOW_SECONDS)
        if state := read_state(home):
            progress.show(state)
    console.print("Sagapay has stopped.")
    return True


def _erase(home: Path) -> None:
    """Only what the stack made: a state directory may hold other things."""
    for name in ERASED:
        shutil.rmtree(home / name, ignore_errors=True)
    for file in home.glob("*.json"):
        file.unlink()
