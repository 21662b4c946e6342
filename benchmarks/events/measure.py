"""The way of an event from its commit to its effect, on a ledger of its own, with relay and consumer as processes."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from benchmarks.ledger.postings import Drive, demand_even, drive, pairs, request, wallets_of
from benchmarks.ledger.server import Server, running_server
from benchmarks.processes import cpu_seconds, spent
from domain.ids import ClientId
from domain.transactions import Step, TransactionStatus
from infra.local.child import Child
from infra.local.names import DATABASE
from ledger.local import LocalLedger
from tests.events.kafka_server import KafkaServer
from tests.events.stage import Stage, staged
from tests.money.scratch import Database

WALLETS: Final = 10_000
CALLERS: Final = 400
WARM_SECONDS: Final = 3.0
FILL_SECONDS: Final = 3.0
LATE_SECONDS: Final = 120.0
RELAY: Final = ("-m", "cli", "relay")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    seconds: float
    """Of transfers at half load."""
    backlog: int
    """Events that wait for the broker."""


FULL: Final = Effort(seconds=60.0, backlog=100_000)
QUICK: Final = Effort(seconds=20.0, backlog=100_000)


@dataclass
class Found:
    """What was measured. Times are in seconds, ages in milliseconds."""

    transfers: int = 0
    failed: int = 0
    rate: float = 0.0
    """Transfers a second that were asked for."""
    ages: list[float] = field(default_factory=list)
    """Of each event when its effect was committed."""
    relay_us: float = 0.0
    """CPU that an event takes of PostgreSQL for the relay, in microseconds."""
    posting_us: float = 0.0
    """CPU that a transfer takes of PostgreSQL for the ledger, in microseconds."""
    drained: int = 0
    drain_seconds: float | None = None
    """From when the broker is there again until the last effect; None where there is no real broker here."""
    drain_cores: dict[str, float] = field(default_factory=dict)
    """Who was busy meanwhile."""
    posting_rate: float = 0.0
    """Transfers a second of the ledger alone, while no event could leave."""


@dataclass
class Way:
    """A stage with relay and listener."""

    server: Server
    stage: Stage
    relay: Child
    listener: Child
    notes: Path
    _heard: list[tuple[float, list[float]]] = field(default_factory=list)
    _read: int = 0
    """How much of the notes is in `_heard`: they are ASCII."""

    def backends(self, name: str) -> float:
        """CPU seconds of PostgreSQL's processes for this application."""
        with self.server.connect() as connection:
            rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", [name])
            return cpu_seconds(pid for (pid,) in rows)

    def told(self) -> int:
        """Events in the outbox."""
        ((number,),) = self.stage.ask("SELECT count(*) FROM ledger.outbox")
        assert isinstance(number, int)
        return number

    def heard(self) -> list[tuple[float, list[float]]]:
        """The listener's commits so far. What was read before is not read again: it shares the cores."""
        if self.notes.exists():
            with self.notes.open() as file:
                file.seek(self._read)
                whole = file.read().rpartition("\n")[0]
            self._read += len(whole) + bool(whole)
            self._heard.extend((at, ages) for at, ages in map(json.loads, whole.splitlines()))
        return self._heard

    def until_heard(self, wanted: int) -> float:
        """Wait until so many events have had their effect. Returns when the last one had. Raises TimeoutError."""
        deadline = time.monotonic() + LATE_SECONDS
        while (came := sum(len(ages) for _, ages in self.heard())) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{came} of {wanted} events have come")
            time.sleep(0.1)
        return self._heard[-1][0] if self._heard else time.time()


@dataclass(frozen=True)
class Paid:
    """What an open loop asked for, what of it failed, and what the ledger's connections took of PostgreSQL's CPU."""

    transfers: int
    failed: int
    cpu: float


@contextmanager
def way(server: Server, home: Path, kafka: KafkaServer | None) -> Iterator[Way]:
    """Relay and listener on this ledger; on the embedded broker where there is no Kafka."""
    place = f"127.0.0.1:{server.port}"
    bootstrap = {"kafka_bootstrap": kafka.bootstrap} if kafka else {}
    with staged([Database(DATABASE, place)], server.settings, home, **bootstrap) as stage:
        if kafka is None:
            stage.start_broker()
        notes = home / "heard"
        listener = stage.start_role("-m", "benchmarks.events.listener", str(notes))
        yield Way(server, stage, stage.start_role(*RELAY), listener, notes)


async def at_half_load(server: Server, rate: float, seconds: float, at_end: Callable[[], float]) -> Paid:
    """Transfers in an open loop with Poisson arrivals. `at_end` is asked while the ledger's connections are open."""
    ledger, client, numbers = LocalLedger(server.settings), ClientId.new(0), count()
    await ledger.ping()
    parties = pairs(Drive(server.settings, wallets_of(server), CALLERS, seconds))
    chance, asked, failed = random.Random(0), list[asyncio.Task[None]](), 0

    async def pay() -> None:
        nonlocal failed
        done = await ledger.begin(request(client, *next(parties), next(numbers)), Step.SETTLE_TRANSFER)
        failed += done.status is not TransactionStatus.SUCCEEDED

    began = due = time.monotonic()
    while due < began + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        asked.append(asyncio.create_task(pay()))
        due += chance.expovariate(rate)
    await asyncio.gather(*asked)
    cpu = await asyncio.to_thread(at_end)
    await ledger.aclose()
    return Paid(len(asked), failed, cpu)


def measure(rate: float, effort: Effort, home: Path, libs: Path | None, say: Say) -> Found:
    """Both measurements. `libs` are the jars of a real Kafka, if there is one. Raises RuntimeError if money is lost."""
    found = Found(rate=rate)
    kafka = KafkaServer(libs, home / "kafka") if libs else None
    with running_server(WALLETS) as server:
        if kafka:
            (home / "kafka").mkdir(parents=True)
            kafka.start()
        try:
            with way(server, home / "stage", kafka) as here:
                _flow(here, effort, found, say)
                if kafka:
                    _drain(here, kafka, effort, found, say)
        finally:
            if kafka:
                kafka.kill()
        with server.connect() as connection:
            demand_even([connection], WALLETS)
    return found


def _flow(here: Way, effort: Effort, found: Found, say: Say) -> None:
    asyncio.run(at_half_load(here.server, found.rate, WARM_SECONDS, float))
    here.until_heard(here.told())
    before, skipped = here.told(), len(here.heard())
    say(f"{found.rate:.0f} transfers a second for {effort.seconds:.0f} s ...")
    relay = here.backends("sagapay-relay")
    paid = asyncio.run(at_half_load(here.server, found.rate, effort.seconds, lambda: here.backends("sagapay")))
    events = here.told() - before
    here.until_heard(before + events)
    found.transfers, found.failed = paid.transfers, paid.failed
    found.relay_us = (here.backends("sagapay-relay") - relay) / events * 1e6
    found.posting_us = paid.cpu / paid.transfers * 1e6
    found.ages = [age for _, ages in here.heard()[skipped:] for age in ages]


def _drain(here: Way, kafka: KafkaServer, effort: Effort, found: Found, say: Say) -> None:
    before = here.told()
    kafka.kill()
    say(f"Kafka is dead; transfers until {effort.backlog:,} events wait for it ...")
    plan, posted = Drive(here.server.settings, wallets_of(here.server), CALLERS, FILL_SECONDS), 0
    while here.told() - before < effort.backlog:
        driven = drive(plan)
        posted, found.failed = posted + driven.posted, found.failed + driven.failed
        found.posting_rate = max(found.posting_rate, driven.rate)
    found.drained = here.told() - before
    say(f"{found.drained:,} events of {posted:,} transfers wait; Kafka starts again ...")
    kafka.start()
    began, busy = time.time(), _busy(here)
    found.drain_seconds = here.until_heard(before + found.drained) - began
    found.drain_cores = {name: seconds / found.drain_seconds for name, seconds in spent(busy, _busy(here)).items()}


def _busy(here: Way) -> dict[str, float]:
    return {"relay": cpu_seconds([here.relay.pid]), "consumer": cpu_seconds([here.listener.pid])}
