"""The ledger's measurements, what is compared always in turns: the machine is not equally fast at all times."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks.ledger import lone, parts, peers
from benchmarks.ledger.postings import Drive, Driven, Skew, deadlocks, demand_even, drive, wallets_of
from benchmarks.ledger.server import Server, grow

Say = Callable[[str], None]


@dataclass(frozen=True)
class Way:
    """How our side is driven: processes, callers in each, and their ledger's writers and largest group."""

    processes: int
    callers: int
    writers: int
    group: int

    def __str__(self) -> str:
        return f"{self.processes} × {self.callers} callers, {self.writers} writers, groups of up to {self.group}"


WAYS: Final = (Way(1, 400, 1, 400), Way(1, 600, 2, 200), Way(2, 300, 1, 200), Way(2, 400, 2, 200), Way(3, 300, 1, 200))
CALLERS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Groups are as large as callers allow."""


@dataclass(frozen=True)
class Effort:
    """How long a run takes. `entries` are the sizes at which the rate is measured again; `groups` are for the costs."""

    wallets: int
    rounds: int
    scan_seconds: float
    seconds: float
    lone_transfers: int
    entries: tuple[int, ...]
    groups: int


QUICK: Final = Effort(100_000, 2, 2, 3, 300, (1_000_000,), 30)
FULL: Final = Effort(100_000, 5, 4, 8, 1000, (1_000_000, 10_000_000), 200)


@dataclass
class Found:
    """Everything that was found out. Rates are transfers a second, in rounds; latencies seconds."""

    best: dict[str, str] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    skews: dict[Skew, list[float]] = field(default_factory=dict)
    by_callers: dict[int, Driven] = field(default_factory=dict)
    lone: dict[str, list[float]] = field(default_factory=dict)
    by_entries: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Entries → rate with so many, and the rate of TPC-B beside it, which tells what the machine was like."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Microseconds of CPU that a transfer costs in each part."""
    failed: int = 0
    deadlocks: int = 0

    def ratios(self, one: str, other: str) -> list[float]:
        """One's rate to the other's, round by round."""
        return [mine / its for mine, its in zip(self.rates[one], self.rates[other], strict=True)]


class Session:
    """One run on a server with an empty ledger."""

    def __init__(self, server: Server, effort: Effort, say: Say) -> None:
        self._server, self._effort, self._say = server, effort, say
        self._wallets = wallets_of(server)
        self.found = Found()
        self._way = WAYS[0]

    def run(self) -> Found:
        """All measurements."""
        peers.prepare(self._server, self._effort.wallets)
        clients = self._scan()
        self._rounds(clients)
        self._skews()
        self._lone()
        self._by_callers()
        self._by_entries(clients["tpcb"])
        with self._server.connect() as connection:
            self.found.deadlocks = deadlocks(connection)
        self._parts()
        return self.found

    def _scan(self) -> Mapping[str, int]:
        """How each does best."""
        self._say("[bold]looking for each one's best number of clients[/]")
        seconds, best = self._effort.scan_seconds, {}
        for name, measure in (("tpcb", self._tpcb), ("textbook", self._textbook)):
            tried = {clients: measure(clients, seconds) for clients in peers.CLIENTS}
            best[name] = max(tried, key=lambda clients: tried[clients])
            self.found.best[name] = f"{best[name]} clients"
            self._say(f"  {name}: best with {best[name]} clients, {max(tried.values()):,.0f}/s")
        ways = {way: self._post(way, seconds).rate for way in WAYS}
        self._way = max(ways, key=lambda way: ways[way])
        self.found.best["ledger"] = str(self._way)
        self._say(f"  ledger: best with {self._way}, {ways[self._way]:,.0f}/s")
        return best

    def _rounds(self, clients: Mapping[str, int]) -> None:
        seconds = self._effort.seconds
        for number in range(self._effort.rounds):
            rates = {
                "ledger": self._post(self._way, seconds).rate,
                "tpcb": self._tpcb(clients["tpcb"], seconds),
                "textbook": self._textbook(clients["textbook"], seconds),
            }
            for name, rate in rates.items():
                self.found.rates.setdefault(name, []).append(rate)
            told = ", ".join(f"{name} {rate:,.0f}/s" for name, rate in rates.items())
            self._say(f"  round {number + 1} of {self._effort.rounds}: {told}")

    def _skews(self) -> None:
        self._say("[bold]who pays whom[/]")
        for _ in range(self._effort.rounds):
            for skew in Skew:
                rate = self._post(self._way, self._effort.seconds, skew).rate
                self.found.skews.setdefault(skew, []).append(rate)
                self._say(f"  {skew}: {rate:,.0f}/s")

    def _lone(self) -> None:
        self._say("[bold]one transfer at a time[/]")
        for _ in range(self._effort.rounds):
            textbook = lone.textbook_latency(self._server, self._effort.wallets, self._effort.lone_transfers)
            ours = lone.our_latency(self._server, self._wallets, self._effort.seconds)
            self.found.lone.setdefault("textbook", []).append(textbook)
            self.found.lone.setdefault("ledger", []).append(ours)
            self._say(f"  textbook {textbook * 1000:.2f} ms, ledger {ours * 1000:.2f} ms")

    def _by_callers(self) -> None:
        self._say("[bold]group size against latency[/]")
        for callers in CALLERS:
            done = self._post(Way(1, callers, 1, 1000), self._effort.scan_seconds)
            self.found.by_callers[callers] = done
            self._say(f"  {callers} callers: {done.rate:,.0f}/s, p50 {median(done.latencies) * 1000:.1f} ms")

    def _by_entries(self, clients: int) -> None:
        self._say("[bold]as the ledger grows[/]")
        with self._server.connect() as connection:
            row = connection.execute("SELECT count(*) FROM ledger.ledger_entries").fetchone()
        entries = int(row[0]) if row else 0
        for size in (entries, *(size for size in self._effort.entries if size > entries)):
            if size > entries:
                self._say(f"  writing old entries, up to {size:,} ...")
                grow(self._server, entries, size)
            beside = self._tpcb(clients, self._effort.seconds)
            rate = self._post(self._way, self._effort.seconds).rate
            self.found.by_entries[size] = rate, beside
            self._say(f"  {size:,} entries: {rate:,.0f}/s (TPC-B beside it {beside:,.0f}/s)")

    def _parts(self) -> None:
        self._say("[bold]what a transfer costs, part by part[/]")
        self.found.parts = parts.costs(self._server, self._wallets, self._effort.groups)
        for part, microseconds in self.found.parts.items():
            self._say(f"  {part}: {microseconds:.0f} µs of CPU")

    def _tpcb(self, clients: int, seconds: float) -> float:
        return peers.tpcb(self._server, clients, seconds)

    def _textbook(self, clients: int, seconds: float) -> float:
        return peers.textbook(self._server, self._effort.wallets, clients, seconds)

    def _post(self, way: Way, seconds: float, skew: Skew = Skew.UNIFORM) -> Driven:
        settings = self._server.settings.model_copy(
            update={"ledger_writers": way.writers, "ledger_group_size": way.group}
        )
        done = drive(Drive(settings, self._wallets, way.callers, seconds, skew), way.processes)
        self.found.failed += done.failed
        with self._server.connect() as connection:
            demand_even([connection], self._effort.wallets)
        return done
