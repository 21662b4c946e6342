"""Rates and costs by number of shards, and of transfers across shards, always in turns."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Final

from benchmarks.ledger.postings import Drive, Driven, Reach, demand_even, drive, wallets_of
from benchmarks.ledger.server import Server, fill
from benchmarks.processes import cpu_seconds
from benchmarks.tables import Growth, Tables
from infra.local.postgres import processes_in

LAYOUTS: Final = (1, 2, 4)
"""Shards; each layout has databases of its own, for a database belongs to one for ever."""
ACROSS: Final = 2
"""Shards of the layout in which transfers across are measured."""
CALLERS: Final = 400
"""All in one process, whatever the layout."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How long a run takes."""

    wallets: int
    rounds: int
    seconds: float
    counted: int
    """Transfers after which bytes are counted, or fewer where these take long."""
    counted_seconds: float


QUICK: Final = Effort(wallets=20_000, rounds=2, seconds=3, counted=10_000, counted_seconds=15)
FULL: Final = Effort(wallets=100_000, rounds=5, seconds=6, counted=50_000, counted_seconds=60)


@dataclass(frozen=True)
class Round:
    """One measurement. CPU is of the caller's process and of PostgreSQL, seconds."""

    rate: float
    posted: int
    failed: int
    caller_cpu: float
    postgres_cpu: float

    @property
    def cpu_each(self) -> float:
        """Seconds a transfer."""
        return (self.caller_cpu + self.postgres_cpu) / max(1, self.posted)


@dataclass
class Found:
    """Everything that was found out."""

    within: dict[int, list[Round]] = field(default_factory=dict)
    """Transfers within a shard, by the number of shards."""
    across: list[Round] = field(default_factory=list)
    """Transfers between two shards, all their steps; a round each of within[2] is beside it."""
    growth: dict[Reach, Growth] = field(default_factory=dict)


class Session:
    """One run on a server with as many empty databases as all layouts need together."""

    def __init__(self, server: Server, effort: Effort, say: Say) -> None:
        self._effort, self._say = effort, say
        names = iter(server.databases)
        self._layouts = {
            shards: replace(server, databases=tuple(next(names) for _ in range(shards))) for shards in LAYOUTS
        }
        self._wallets: dict[int, tuple[str, ...]] = {}
        self.found = Found()

    def run(self) -> Found:
        """All measurements."""
        for shards, server in self._layouts.items():
            fill(server, self._effort.wallets)
            self._wallets[shards] = wallets_of(server)
        for number in range(self._effort.rounds):
            self._say(f"[bold]round {number + 1} of {self._effort.rounds}[/]")
            for shards in LAYOUTS:
                within = self._measure(shards, Reach.SAME_SHARD)
                self.found.within.setdefault(shards, []).append(within)
                self._say(f"  {shards} shards: {_told(within)}")
            across = self._measure(ACROSS, Reach.OTHER_SHARD)
            self.found.across.append(across)
            self._say(f"  between {ACROSS} shards: {_told(across)}")
        for reach in (Reach.SAME_SHARD, Reach.OTHER_SHARD):
            self.found.growth[reach] = self._growth(reach)
        for server in self._layouts.values():
            connections = [server.connect(name) for name in server.databases]
            demand_even(connections, self._effort.wallets)
            for connection in connections:
                connection.close()
        return self.found

    def _growth(self, reach: Reach) -> Growth:
        before = after = self._tables()
        deadline = time.monotonic() + self._effort.counted_seconds
        while time.monotonic() < deadline:
            self._drive(ACROSS, reach)
            after = self._tables()
            if after.transfers - before.transfers >= self._effort.counted:
                break
        growth = Growth.between(before, after)
        where = reach.replace("_", " ")
        self._say(f"[bold]bytes[/] of {growth.transfers:,} transfers to the {where}: {growth.total:,.0f} each")
        return growth

    def _tables(self) -> Tables:
        server, found = self._layouts[ACROSS], []
        for name in server.databases:
            with server.connect(name) as connection:
                found.append(Tables.now(connection))
        return reduce(Tables.plus, found)

    def _measure(self, shards: int, reach: Reach) -> Round:
        data = self._layouts[shards].data
        caller, postgres = time.process_time(), cpu_seconds(processes_in(data))
        done = self._drive(shards, reach)
        return Round(
            rate=done.rate,
            posted=done.posted,
            failed=done.failed,
            caller_cpu=time.process_time() - caller,
            postgres_cpu=cpu_seconds(processes_in(data)) - postgres,
        )

    def _drive(self, shards: int, reach: Reach) -> Driven:
        settings = self._layouts[shards].settings
        return drive(Drive(settings, self._wallets[shards], CALLERS, self._effort.seconds, reach=reach))


def _told(done: Round) -> str:
    return f"{done.rate:,.0f}/s, {done.cpu_each * 1e6:,.0f} µs of CPU each, {done.failed} failed"
