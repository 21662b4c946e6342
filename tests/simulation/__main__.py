"""`python -m tests.simulation SEED…` plays these seeds; `--seeds N` the first N, going on where it was stopped."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from infra.clock import set_clock
from infra.settings import Settings
from tests.matrix.walk import matrix_servers
from tests.money.scratch import Databases
from tests.simulation.journal import Journal, SimulationFailed
from tests.simulation.play import Result, play
from tests.simulation.results import Results
from tests.stack.bank import BankProcess
from tests.stack.servers import Servers, running_servers
from tests.workflow.scene import open_scene
from tests.workflow.worker_process import running_worker

_QUICK = {
    "SAGAPAY_BANK_EVENTS_INTERVAL_SECONDS": "2",
    "SAGAPAY_SWEEP_INTERVAL_SECONDS": "5",
    "SAGAPAY_SWEEP_AFTER_SECONDS": "5",
}


async def simulate(
    seed: int, home: Path, settings: Settings, bank: BankProcess, progress: Progress, *, asked_days: bool
) -> Result:
    """A simulation on these servers. Raises SimulationFailed."""
    began, journal, task = time.monotonic(), Journal(), progress.add_task(f"seed {seed}", total=None)

    def tell(day: str) -> None:
        if asked_days:
            progress.console.print(f"{time.monotonic() - began:5.1f} s  {day}", highlight=False)
        progress.update(task, description=f"seed {seed}, {day}")

    try:
        variables = {**_QUICK, "SAGAPAY_BUSINESS_CLOCK_FILE": str(settings.business_clock_file)}
        async with (
            open_scene(settings, bank) as scene,
            running_worker(home / "worker", settings, **variables) as worker,
        ):
            return await play(seed, scene, worker, journal, tell)
    except Exception as error:
        raise SimulationFailed(seed, journal.day, journal.lines, f"{type(error).__name__}: {error}") from error
    finally:
        progress.remove_task(task)


def run(seeds: Sequence[int], results: Results, console: Console, *, asked_days: bool) -> bool:
    """Play them, and keep what came of each; whether all were clean."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="sagapay-simulation-") as folder,
        Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress,
        running_servers(Path(folder) / "servers") as servers,
    ):
        task, databases, clean = progress.add_task("simulations", total=len(seeds)), Databases(servers.settings), True
        for seed in seeds:
            began = time.monotonic()
            try:
                with _own_servers(Path(folder) / str(seed), servers, databases) as (settings, bank):
                    result = asyncio.run(
                        simulate(seed, Path(folder) / str(seed), settings, bank, progress, asked_days=asked_days)
                    )
            except SimulationFailed as failure:
                clean = False
                results.failed(failure, time.monotonic() - began)
                console.print(f"[red]FAILED[/] {failure}", highlight=False, soft_wrap=True)
            else:
                results.clean(result, time.monotonic() - began)
                took = f"{time.monotonic() - began:.0f} s"
                console.print(f"seed {seed}: clean, {result.payments} payments on {result.days} days in {took}")
            progress.advance(task)
    return clean


@contextmanager
def _own_servers(home: Path, servers: Servers, databases: Databases) -> Iterator[tuple[Settings, BankProcess]]:
    """Nothing of another seed is there. Business time is the machine's until the simulation says otherwise."""
    home.mkdir()
    clock_file = home / "business_clock"
    set_clock(clock_file, datetime.now(UTC))
    with matrix_servers(home, servers, databases, clock_file) as made:
        yield made


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="The simulation of the rails.")
    parser.add_argument("seed", type=int, nargs="*", help="play these")
    parser.add_argument("--seeds", type=int, default=0, help="play 1 to N, but for those that were played before")
    parser.add_argument("--days", action="store_true", help="say when each day begins")
    words = parser.parse_args()
    results = Results.kept() if words.seeds else Results()
    wanted = words.seed or [seed for seed in range(1, words.seeds + 1) if seed not in results.by_seed]
    clean = run(wanted, results, Console(), asked_days=words.days)
    if words.seeds:
        results.write_page()
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
