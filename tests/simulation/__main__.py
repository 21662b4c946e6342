"""`python -m tests.simulation SEED…` plays these seeds; `--seeds N` the first N, going on where it was stopped."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from infra.clock import set_clock
from infra.settings import Settings
from tests.matrix.walk import matrix_servers
from tests.money.scratch import Databases
from tests.simulation.expectations import ACH_AT_ONCE
from tests.simulation.journal import Journal, SimulationFailed
from tests.simulation.play import Result, play
from tests.simulation.results import Results
from tests.stack.bank import BankProcess
from tests.stack.servers import Servers, running_servers
from tests.workflow.scene import open_scene
from tests.workflow.worker_process import running_worker

AT_ONCE: Final = 2
"""Much of a simulation is waiting for what was killed to be missed."""
_QUICK: Final = {
    "SAGAPAY_ACH_AT_ONCE": str(ACH_AT_ONCE),
    "SAGAPAY_BANK_BREAKER_PAUSE_SECONDS": "1",
    "SAGAPAY_BANK_EVENTS_INTERVAL_SECONDS": "2",
    "SAGAPAY_EXPIRY_INTERVAL_SECONDS": "2",
    "SAGAPAY_SWEEP_INTERVAL_SECONDS": "5",
    "SAGAPAY_SWEEP_AFTER_SECONDS": "5",
    "SAGAPAY_WORKER_STICKY_SECONDS": "2",
}
_DEATH_NOTICED_AFTER: Final = timedelta(seconds=3)
"""A killed worker is waited for no longer than that; what is done about it is the same."""


class Stage:
    """Plays seeds on shared servers, keeps what came of each, and shows how far it is."""

    def __init__(self, home: Path, servers: Servers, results: Results, progress: Progress, *, tells_days: bool) -> None:
        self._home = home
        self._servers = servers
        self._databases = Databases(servers.settings)
        self._results = results
        self._progress = progress
        self._tells_days = tells_days

    def play(self, seeds: Sequence[int]) -> bool:
        """These at the same time, each on servers of its own; whether all were clean."""
        with ExitStack() as stack:
            own = {seed: stack.enter_context(self._own_servers(self._home / str(seed))) for seed in seeds}

            async def together() -> list[bool]:
                return await asyncio.gather(*(self._play(seed, *made) for seed, made in own.items()))

            return all(asyncio.run(together()))

    @contextmanager
    def _own_servers(self, home: Path) -> Iterator[tuple[Settings, BankProcess]]:
        """Nothing of another seed is there. Business time is the machine's until the simulation says otherwise."""
        home.mkdir()
        clock_file = home / "business_clock"
        set_clock(clock_file, datetime.now(UTC))
        with matrix_servers(home, self._servers, self._databases, clock_file) as made:
            yield made

    async def _play(self, seed: int, settings: Settings, bank: BankProcess) -> bool:
        began, say = time.monotonic(), self._progress.console.print
        try:
            result = await self._simulate(seed, settings, bank)
        except SimulationFailed as failure:
            self._results.failed(failure, time.monotonic() - began)
            say(f"[red]FAILED[/] {failure}", highlight=False, soft_wrap=True)
            return False
        took = time.monotonic() - began
        self._results.clean(result, took)
        say(f"seed {seed}: clean, {result.payments} payments on {result.days} days in {took:.0f} s", highlight=False)
        return True

    async def _simulate(self, seed: int, settings: Settings, bank: BankProcess) -> Result:
        began, journal = time.monotonic(), Journal()
        task = self._progress.add_task(f"seed {seed}", total=None)

        def tell(day: str) -> None:
            self._progress.update(task, description=f"seed {seed}, {day}")
            if self._tells_days:
                self._progress.console.print(f"{time.monotonic() - began:5.1f} s  seed {seed}, {day}", highlight=False)

        own = {**_QUICK, "SAGAPAY_BUSINESS_CLOCK_FILE": str(settings.business_clock_file)}
        home = self._home / str(seed) / "worker"
        try:
            async with open_scene(settings, bank) as scene, running_worker(home, settings, **own) as worker:
                scene.task_timeout = _DEATH_NOTICED_AFTER
                return await play(seed, scene, worker, journal, tell)
        except Exception as error:
            raise SimulationFailed(seed, journal.day, journal.lines, f"{type(error).__name__}: {error}") from error
        finally:
            self._progress.remove_task(task)


def run(seeds: Sequence[int], results: Results, *, tells_days: bool) -> bool:
    """Play them; whether all were clean."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="sagapay-simulation-") as folder,
        Progress(*columns, TimeRemainingColumn(), console=Console(), transient=True) as progress,
        running_servers(Path(folder) / "servers") as servers,
    ):
        task = progress.add_task("simulations", total=len(seeds))
        stage = Stage(Path(folder), servers, results, progress, tells_days=tells_days)
        clean = True
        for first in range(0, len(seeds), AT_ONCE):
            several = seeds[first : first + AT_ONCE]
            clean = stage.play(several) and clean
            progress.advance(task, len(several))
    return clean


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="The simulation of the rails.")
    parser.add_argument("seed", type=int, nargs="*", help="play these")
    parser.add_argument("--seeds", type=int, default=0, help="play 1 to N, but for those that were played before")
    parser.add_argument("--days", action="store_true", help="say when each day begins")
    words = parser.parse_args()
    results = Results.kept() if words.seeds else Results()
    wanted = words.seed or [seed for seed in range(1, words.seeds + 1) if seed not in results.by_seed]
    clean = run(wanted, results, tells_days=words.days)
    if words.seeds:
        results.write_page()
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
