"""The lanes' measurements. What is compared is measured in turns: the machine is not equally fast at all times."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import psycopg

from benchmarks.capacity import AT_FULL_LOAD
from benchmarks.lanes.bulk import Bulk, PaidBatch
from benchmarks.ledger.postings import Drive, drive
from benchmarks.load import Kind
from benchmarks.measure import FULL as HTTP_FULL
from benchmarks.measure import QUICK as HTTP_QUICK
from benchmarks.measure import Effort, Findings, Session
from benchmarks.processes import spent
from benchmarks.site import PORT, Beside, Site
from benchmarks.tables import Growth, Tables
from benchmarks.trial import Trial, carry_out

EXPRESS: Final = Beside(Kind.EXPRESS, {"express": ("-m", "cli", "api")}, {"SAGAPAY_TRANSFER_LANE": "express"})
"""A second API process, apart from the first by its lane."""
ENDPOINT: Final = Beside(Kind.ENDPOINT, {"endpoint": ("-m", "benchmarks.lanes.endpoint", PORT)})
IDLE_SECONDS: Final = 5.0
POSTERS: Final = 400
"""Callers of the ledger alone, all in one process."""
BESIDE_SHARE: Final = 0.1
"""Of what the express lane sustains: payments of others while batches are paid."""
BATCH_EVERY_SECONDS: Final = 2.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class LanesEffort:
    """How long a run takes; `http` is for what is searched and timed request by request."""

    http: Effort
    rounds: int
    batch: int
    posting_seconds: float


QUICK: Final = LanesEffort(replace(HTTP_QUICK, people=64), rounds=2, batch=10_000, posting_seconds=3)
FULL: Final = LanesEffort(
    replace(HTTP_FULL, people=200, trial_seconds=8, slices=3, slice_seconds=10),
    rounds=5,
    batch=10_000,
    posting_seconds=6,
)


@dataclass(frozen=True)
class Cost:
    """What each process took for so many transfers, beyond what it takes when nothing happens. Seconds."""

    transfers: int
    by_process: dict[str, float]

    def cores(self, *names: str) -> float:
        """Of these processes together, for a thousand transfers a second."""
        return sum(self.by_process.get(name, 0) for name in names) / self.transfers * 1000


@dataclass
class Found:
    """Everything that was found out."""

    http: Findings
    idle: dict[str, float] = field(default_factory=dict)
    """Of one core, by process, when nothing happens."""
    bulk: list[PaidBatch] = field(default_factory=list)
    posting: list[float] = field(default_factory=list)
    """The ledger alone beside each batch, transfers a second."""
    costs: dict[str, Cost] = field(default_factory=dict)
    growth: dict[str, Growth] = field(default_factory=dict)
    beside: Trial | None = None
    """Payments of others while batches were paid at half of their rate."""
    beside_bulk: list[PaidBatch] = field(default_factory=list)


class Lanes:
    """One run over a site."""

    def __init__(self, site: Site, effort: LanesEffort, say: Say) -> None:
        self._site, self._effort, self._say = site, effort, say
        self._session = Session(site, effort.http, say)
        self._bulk = Bulk(site, site.platform.home.name)
        self.found = Found(self._session.findings)

    def run(self) -> Found:
        """All measurements."""
        self._idle()
        self._express()
        self._workflow()
        self._batches()
        self._beside()
        return self.found

    def _idle(self) -> None:
        """What all processes take while nothing is asked of them."""
        self._site.quiet()
        before = self._site.cpu()
        time.sleep(IDLE_SECONDS)
        taken = spent(before, self._site.cpu())
        self.found.idle = {name: seconds / IDLE_SECONDS for name, seconds in taken.items()}
        self._say(f"idle, all processes take {sum(self.found.idle.values()):.0%} of a core")

    def _express(self) -> None:
        before = self._tables()
        self._session.compare([Kind.EXPRESS, Kind.ENDPOINT])
        self.found.growth["express"] = Growth.between(before, self._tables())
        self._note_cost("express", self.found.http.latencies.get(Kind.EXPRESS))
        closed = [trial for trial in self.found.http.trials if trial.plan.kind is Kind.EXPRESS and not trial.plan.rate]
        self._note_cost(AT_FULL_LOAD, closed[-1])

    def _workflow(self) -> None:
        self._say("[bold]transfer[/]: what the workflow lane costs at half of what a closed loop reaches")
        self._session.at_rate([Kind.TRANSFER], self._session.saturated(Kind.TRANSFER).completed_per_second / 2)
        self._note_cost("workflow", self.found.http.latencies.get(Kind.TRANSFER))

    def _batches(self) -> None:
        wallets = tuple(account.wallet_id for account in self._site.accounts)
        for number in range(self._effort.rounds):
            self._say(f"[bold]bulk and the ledger alone[/]: round {number + 1} of {self._effort.rounds}")
            alone = drive(Drive(self._site.platform.settings, wallets, POSTERS, self._effort.posting_seconds))
            self._site.quiet()
            self.found.posting.append(alone.rate)
            begin, cpu, tables = time.monotonic(), self._site.cpu(), self._tables()
            paid = self._bulk.pay(self._effort.batch)
            self._site.quiet()
            self.found.bulk.append(paid)
            taken = spent(cpu, self._site.cpu())
            self.found.costs["bulk"] = self._cost(paid.succeeded, taken, time.monotonic() - begin)
            self.found.growth["bulk"] = Growth.between(tables, self._tables())
            self._say(f"  the ledger alone {alone.rate:,.0f}/s, bulk {paid.rate:,.0f}/s, {paid.failed} failed")

    def _beside(self) -> None:
        """Single payments in the express lane, while a batch comes every two seconds."""
        half = max(paid.rate for paid in self.found.bulk) / 2
        rate = max(1.0, self.found.http.rate(Kind.EXPRESS) * BESIDE_SHARE)
        self._say(f"[bold]express[/]: {rate:.0f}/s while batches of {half * BATCH_EVERY_SECONDS:.0f} come")
        self.found.beside, self.found.beside_bulk = asyncio.run(self._both(rate, round(half * BATCH_EVERY_SECONDS)))
        self._site.quiet()
        self._session.verify(Kind.EXPRESS)

    async def _both(self, rate: float, transfers: int) -> tuple[Trial, list[PaidBatch]]:
        seconds = self._effort.http.slices * self._effort.http.slice_seconds
        batches = asyncio.create_task(self._bulk.keep_paying(transfers, BATCH_EVERY_SECONDS, seconds))
        trial = await carry_out(self._session.plan(Kind.EXPRESS, rate, seconds, poisson_seed=0))
        return self._session.note(trial), await batches

    def _note_cost(self, lane: str, trial: Trial | None) -> None:
        """Nothing where no rate was kept up, or nothing of it was completed."""
        if trial is not None and trial.completion_ms:
            self.found.costs[lane] = self._cost(len(trial.completion_ms), trial.cpu_seconds, trial.wall_seconds)

    def _cost(self, transfers: int, cpu: Mapping[str, float], seconds: float) -> Cost:
        beyond = {name: taken - self.found.idle.get(name, 0) * seconds for name, taken in cpu.items()}
        return Cost(transfers, {name: max(0.0, taken) for name, taken in beyond.items()})

    def _tables(self) -> Tables:
        with psycopg.connect(self._site.platform.settings.shard_urls[0], autocommit=True) as connection:
            return Tables.now(connection)
