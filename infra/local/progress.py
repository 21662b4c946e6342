"""What a person sees of a start or a stop: one line a process, then where everything is."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from infra.local.stack import Status, last_lines
from infra.local.state import StackState

SIGNS = {
    Status.WAITING: "[dim]·[/] waiting",
    Status.STARTING: "[yellow]…[/] starting",
    Status.READY: "[green]✓[/] ready",
    Status.RESTARTING: "[red]↻[/] restarting",
    Status.STOPPED: "[dim]·[/] stopped",
}
LABELS = {
    "docs": "API documentation",
    "api": "API",
    "temporal_ui": "Temporal UI",
    "bank": "Simulated bank",
    "postgres": "Ledger database",
    "logs": "Logs",
}


class Progress:
    """Show each state given to it: redrawn on a terminal, one line for each change elsewhere."""

    def __init__(self, console: Console, *worth_a_line: Status) -> None:
        self._console = console
        self._worth_a_line = worth_a_line or (Status.READY, Status.RESTARTING)
        # Neither a thread that refreshes nor a hand on standard output: the supervisor forks its roles.
        self._live = (
            Live(
                console=console,
                transient=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            if console.is_terminal
            else None
        )
        self._begun = time.monotonic()
        self._shown: dict[str, Status] = {}
        self._seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, state: StackState) -> None:
        """Show what has changed since the last state."""
        for name, process in state.processes.items():
            if self._shown.get(name) is not process.status:
                self._shown[name] = process.status
                self._seconds[name] = time.monotonic() - self._begun
                if self._live is None and process.status in self._worth_a_line:
                    self._console.print(f"{SIGNS[process.status]} {name} ({self._seconds[name]:.1f} s)")
        if self._live:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, status in self._shown.items():
            table.add_row(f"  {name}", SIGNS[status], f"[dim]{self._seconds[name]:.1f} s[/]")
        return table


def print_addresses(console: Console, state: StackState, home: Path) -> None:
    """Where everything is, and the key to try it with."""
    lines = {label: state.addresses[name] for name, label in LABELS.items() if name in state.addresses}
    if key := _development_key(home):
        lines["Development API key"] = key
    for label, value in lines.items():
        console.print(f"  {label:<20} {value}", soft_wrap=True, markup=False, highlight=False)


def _development_key(home: Path) -> str | None:
    try:
        return str(json.loads((home / "development.json").read_text())["app_key"])
    except (OSError, ValueError, KeyError):
        return None


def print_failure(console: Console, state: StackState) -> None:
    """Which process did not start, and the last it wrote."""
    if failure := state.failure:
        console.print(f"[red]✗ {failure.name}[/]: {failure.reason}", soft_wrap=True)
        for line in last_lines(failure.log):
            console.print(f"  {line}", markup=False, style="dim", soft_wrap=True)
        if failure.log:
            console.print(f"  its log: {failure.log}", soft_wrap=True)
