"""`python -m benchmarks.ledger.ways [--quick]`: the ledger in each caller's process, against one `ledger` role for all.

One durable PostgreSQL, one, two, four and eight caller processes, three loads, both ways in turns. All that a real
posting does is included. Writes benchmarks/results/ledger_ways.csv and the table of the decision record.
"""

import argparse
import asyncio
import csv
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console

import migrations
from benchmarks.figures import RESULTS, write_page
from benchmarks.ledger.caller import Report, Trial
from benchmarks.processes import cpu_seconds
from benchmarks.trial import percentile
from domain.ids import ClientId, WalletId
from infra.local.postgres import POSTGRES_DATA, processes_in
from infra.settings import Settings
from ledger.invariants import verify
from ledger.local import LocalLedger
from tests.money.requests import Client
from tests.money.role import LedgerProcess, running_ledger
from tests.stack.platform import REPOSITORY
from tests.stack.servers import running_servers

(RECORD,) = (REPOSITORY / "docs/adr").glob("*-ledger-service-in-process-or-rpc.md")
RAW: Final = RESULTS / "ledger_ways.csv"
WAYS: Final = ("in process", "role")
PROCESSES: Final = (1, 2, 4, 8)
MONEY: Final = 10**7
AT_ONCE: Final = 64
"""While wallets are opened."""
LINE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Load:
    """What each caller process does."""

    name: str
    at_once: int
    one_receiver: bool = False


LOADS: Final = (
    Load("1 at a time", 1),
    Load("32 at a time", 32),
    Load("32 at a time, one receiver", 32, one_receiver=True),
)


@dataclass(frozen=True)
class Effort:
    """How long a run takes."""

    wallets: int
    rounds: int
    seconds: float


QUICK: Final = Effort(wallets=500, rounds=1, seconds=1.5)
FULL: Final = Effort(wallets=2_000, rounds=3, seconds=3)


@dataclass(frozen=True)
class Measured:
    """One trial of one way. CPU is in seconds, over the whole trial."""

    load: Load
    processes: int
    way: str
    seconds: float
    latencies_ms: Sequence[float]
    failures: Counter[str]
    callers_cpu: float
    role_cpu: float
    postgres_cpu: float

    @property
    def rate(self) -> float:
        """Transfers posted a second."""
        return len(self.latencies_ms) / self.seconds

    def cpu_us(self, seconds: float) -> float:
        """Microseconds of CPU a transfer."""
        return seconds * 1e6 / max(1, len(self.latencies_ms))


class Site:
    """A database with wallets, the role, and caller processes that wait for trials."""

    def __init__(self, settings: Settings, role: LedgerProcess, callers: list[asyncio.subprocess.Process]) -> None:
        self.settings, self.role, self.callers = settings, role, callers
        self.client_id = ClientId.new(0)
        self.wallets: list[WalletId] = []
        self._seed = 0

    async def settle(self, wallets: int) -> None:
        """Open wallets and give them money, and let every caller connect."""
        ledger = LocalLedger(self.settings)
        client = Client(ledger, client_id=self.client_id)
        turn = asyncio.Semaphore(AT_ONCE)

        async def open_wallet() -> WalletId:
            async with turn:
                return await client.open_wallet(MONEY)

        self.wallets = list(await asyncio.gather(*(open_wallet() for _ in range(wallets))))
        await ledger.aclose()
        for way in WAYS:
            await self.measure(Load("warm up", 8), len(self.callers), way, 1)

    async def measure(self, load: Load, processes: int, way: str, seconds: float) -> Measured:
        """One trial."""
        trials = []
        for _ in range(processes):
            self._seed += 1
            trials.append(
                Trial(
                    address=self.role.address if way == "role" else None,
                    client_id=self.client_id,
                    wallets=[str(wallet) for wallet in self.wallets[1:]],
                    receiver=self.wallets[0] if load.one_receiver else None,
                    at_once=load.at_once,
                    seconds=seconds,
                    seed=self._seed,
                )
            )
        role, postgres = self._cpu()
        reports = await asyncio.gather(*map(_ask, self.callers, trials))
        role_after, postgres_after = self._cpu()
        return Measured(
            load=load,
            processes=processes,
            way=way,
            seconds=seconds,
            latencies_ms=[latency for report in reports for latency in report.latencies_ms],
            failures=sum((Counter(report.failures) for report in reports), Counter[str]()),
            callers_cpu=sum(report.cpu_seconds for report in reports),
            role_cpu=role_after - role,
            postgres_cpu=postgres_after - postgres,
        )

    def _cpu(self) -> tuple[float, float]:
        servers = processes_in(self.settings.state_dir / POSTGRES_DATA)
        return cpu_seconds([self.role.pid]), cpu_seconds(servers)

    async def check(self) -> bool:
        """Whether all money is still there, and every invariant holds."""
        ledger = LocalLedger(self.settings)
        try:
            found = [await ledger.wallet(wallet_id) for wallet_id in self.wallets]
            findings = await verify(ledger.shards.all[0].engine)
        finally:
            await ledger.aclose()
        total = sum(wallet.posted for wallet in found if wallet)
        return total == MONEY * len(self.wallets) and all(finding.ok for finding in findings)


async def _ask(caller: asyncio.subprocess.Process, trial: Trial) -> Report:
    assert caller.stdin
    assert caller.stdout
    caller.stdin.write(trial.model_dump_json().encode() + b"\n")
    await caller.stdin.drain()
    return Report.model_validate_json(await caller.stdout.readline())


@contextmanager
def _database() -> Iterator[Settings]:
    """A durable PostgreSQL on the disk of the checkout."""
    with (
        tempfile.TemporaryDirectory(prefix=".sagapay-bench-", dir=REPOSITORY) as home,
        running_servers(Path(home)) as servers,
    ):
        for url in servers.settings.migration_urls:
            migrations.upgrade(url)
        yield servers.settings


@asynccontextmanager
async def _callers(settings: Settings, count: int) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    environment = {**os.environ, "SAGAPAY_SHARD_URLS": ",".join(settings.shard_urls)}
    environment["SAGAPAY_MIGRATION_URLS"] = ",".join(settings.migration_urls)
    callers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.ledger.caller",
            cwd=REPOSITORY,
            env=environment,
            limit=LINE_BYTES,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    try:
        yield callers
    finally:
        for caller in callers:
            assert caller.stdin
            caller.stdin.close()
        for caller in callers:
            await caller.wait()


async def measure(effort: Effort, settings: Settings, role: LedgerProcess, console: Console) -> list[Measured]:
    """Every load with every number of processes, both ways in turns, as often as there are rounds."""
    found = []
    async with _callers(settings, max(PROCESSES)) as callers:
        site = Site(settings, role, callers)
        await site.settle(effort.wallets)
        for _ in range(effort.rounds):
            for load in LOADS:
                for processes in PROCESSES:
                    for way in WAYS:
                        trial = await site.measure(load, processes, way, effort.seconds)
                        console.print(_line(trial), highlight=False)
                        found.append(trial)
        assert await site.check(), "money was lost or made"
    return found


def _line(trial: Measured) -> str:
    p50, p99 = (percentile(trial.latencies_ms, percent) or 0 for percent in (50, 99))
    cpu = {"callers": trial.callers_cpu, "role": trial.role_cpu, "PostgreSQL": trial.postgres_cpu}
    shares = ", ".join(f"{who} {trial.cpu_us(seconds):.0f}" for who, seconds in cpu.items())
    return (
        f"{trial.load.name:28} {trial.processes} processes, {trial.way:10} {trial.rate:8.0f}/s  p50 {p50:6.1f} ms  "
        f"p99 {p99:6.1f} ms  CPU µs a transfer: {shares}; failed: {dict(trial.failures) or 'none'}"
    )


def table(found: Sequence[Measured]) -> str:
    """The medians of all rounds, in Markdown."""
    head = ["each process sends", "processes"]
    head += [f"{way}: {what}" for way in WAYS for what in ("a second", "p50 / p99 ms", "CPU µs each")]
    lines = [f"| {' | '.join([*head, 'role : in process', 'failed'])} |", "|---|---:|" + "---:|" * 8]
    for load in LOADS:
        for processes in PROCESSES:
            of = [t for t in found if t.load is load and t.processes == processes]
            rates = {way: median(t.rate for t in of if t.way == way) for way in WAYS}
            cells = [load.name, str(processes)]
            for way in WAYS:
                mine = [t for t in of if t.way == way]
                cpu = median(t.cpu_us(t.callers_cpu + t.role_cpu + t.postgres_cpu) for t in mine)
                times = (median(percentile(t.latencies_ms, p) or 0 for t in mine) for p in (50, 99))
                cells += [f"{rates[way]:,.0f}", " / ".join(f"{ms:.1f}" for ms in times), f"{cpu:,.0f}"]
            ratio = rates["role"] / rates["in process"] if rates["in process"] else 0
            cells += [f"{ratio:.2f}", str(sum(sum(t.failures.values()) for t in of))]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_raw(found: Sequence[Measured]) -> None:
    """Every trial as a row."""
    with RAW.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["load", "processes", "way", "seconds", "posted", "failed", "p50_ms", "p99_ms", "callers_cpu_s",
                       "role_cpu_s", "postgres_cpu_s"])  # fmt: skip
        for t in found:
            times = [round(percentile(t.latencies_ms, percent) or 0, 2) for percent in (50, 99)]
            cpu = [round(seconds, 3) for seconds in (t.callers_cpu, t.role_cpu, t.postgres_cpu)]
            rows.writerow([t.load.name, t.processes, t.way, t.seconds, len(t.latencies_ms), sum(t.failures.values()),
                           *times, *cpu])  # fmt: skip


def main() -> int:
    """0 when all was measured and not a cent is off."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger.ways", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute and a half, noisier, writes nothing")
    quick = parser.parse_args().quick
    effort, console, load_before = QUICK if quick else FULL, Console(width=200), os.getloadavg()[0]
    with _database() as settings, running_ledger(settings.state_dir / "role", settings) as role:
        found = asyncio.run(measure(effort, settings, role, console))
    text = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores, which callers, role and "
        f"PostgreSQL share; the load average before was {load_before:.1f}. Medians of {effort.rounds} rounds of "
        f"{effort.seconds:g} s, {effort.wallets:,} wallets; every invariant held afterwards.\n\n{table(found)}"
    )
    console.print(text, markup=False, soft_wrap=True)
    if not quick:
        write_raw(found)
        write_page(text, RECORD)
    return 0


if __name__ == "__main__":
    sys.exit(main())
