"""Deposits at one bank in an open loop, alone and while payments wait at a dead one; then the waiting ones' end."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bank_adapters.simulated.adapter import SimulatedBank
from benchmarks.banks.worker import CALLS_PER_SECOND
from domain.contracts.payments import RetryPlan
from domain.transactions import TransactionStatus
from infra.settings import Settings
from tests.money.scratch import Databases
from tests.stack.bank import OTHER, BankProcess, other_bank, running_bank
from tests.stack.servers import running_servers
from tests.workflow.scene import Payment, Person, Scene, open_scene
from tests.workflow.temporal_server import running_temporal
from tests.workflow.worker_process import running_worker

PEOPLE: Final = 40
AMOUNT: Final = 1
PATIENT: Final = RetryPlan(quick_retry_seconds=3_600)
"""Nobody parks while the other bank is dead: what is measured is waiting and its end."""
DRAIN_SECONDS: Final = 600.0
_STARTS_AT_ONCE: Final = 16

Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How many wait, and how long each phase of the open loop takes at this rate."""

    waiting: int
    rate: float
    seconds: float
    rounds: int


QUICK: Final = Effort(waiting=1_000, rate=3, seconds=30, rounds=1)
FULL: Final = Effort(waiting=1_000, rate=3, seconds=60, rounds=2)


@dataclass
class Found:
    """Latencies are milliseconds from the scheduled moment to the payment's end; None did not end well."""

    alone: list[float | None] = field(default_factory=list)
    beside: list[float | None] = field(default_factory=list)
    ended_at: list[list[float]] = field(default_factory=list)
    """Seconds since the other bank was back, of each that had waited, by round."""
    lost: int = 0
    """Of those that had waited: did not succeed."""


@asynccontextmanager
async def two_banks(home: Path) -> AsyncIterator[tuple[Scene, Scene]]:
    """The same ledger, Temporal server and worker with each of two banks."""
    with running_servers(home / "servers") as servers:
        base = servers.settings
        with (
            Databases(base).copy() as database,
            running_bank(home / "here") as first,
            running_bank(home / "there") as second,
            running_temporal(home / "temporal", database.settings(base, bank_url=first.url)) as settings,
        ):
            words = ("-m", "benchmarks.banks.worker", second.url)
            async with (
                running_worker(home / "worker", settings, *words, SAGAPAY_REDIS_URL=settings.redis_url),
                open_scene(settings, first) as here,
                _other(settings, here, second) as there,
            ):
                yield here, there


@asynccontextmanager
async def _other(settings: Settings, here: Scene, process: BankProcess) -> AsyncIterator[Scene]:
    bank = other_bank(SimulatedBank(process.url, settings.bank_request_timeout_seconds), CALLS_PER_SECOND)
    async with process.admin() as admin:
        yield replace(here, bank=bank, process=process, admin=admin)
    await bank.aclose()


async def measure(here: Scene, there: Scene, effort: Effort, say: Say) -> Found:
    """Alone, beside the dead bank, and when it is back; as often as there are rounds. Alone once more at the end."""
    found = Found()
    people = await asyncio.gather(*(here.person() for _ in range(PEOPLE)))
    others = await asyncio.gather(*(there.person() for _ in range(PEOPLE)))
    for number in range(effort.rounds):
        say(f"round {number + 1} of {effort.rounds}: {effort.rate:g} deposits a second for {effort.seconds:g} s")
        found.alone += await _open_loop(here, people, effort, seed=number)
        there.process.kill()
        say(f"the bank {OTHER} is dead; {effort.waiting:,} deposits are asked of it")
        waiting = await _started(there, others, effort.waiting)
        say("the same rate beside them")
        found.beside += await _open_loop(here, people, effort, seed=number)
        there.process.restart()
        say("the bank is back")
        ended_at, lost = await _ends(there, waiting)
        found.ended_at.append(ended_at)
        found.lost += lost
        say(f"all have ended after {max(ended_at):.1f} s")
    found.alone += await _open_loop(here, people, effort, seed=effort.rounds)
    return found


async def _open_loop(scene: Scene, people: Sequence[Person], effort: Effort, *, seed: int) -> list[float | None]:
    """Poisson arrivals, as many as the rate says; each latency counts from the scheduled moment."""
    chance = random.Random(seed)
    dues = sorted(chance.uniform(0, effort.seconds) for _ in range(round(effort.rate * effort.seconds)))
    start = time.monotonic()

    async def pay(due: float) -> float | None:
        await asyncio.sleep(start + due - time.monotonic())
        payment = await scene.deposit(chance.choice(people), AMOUNT, PATIENT)
        result = await payment.handle.result()
        took = (time.monotonic() - start - due) * 1000
        return took if result.status is TransactionStatus.SUCCEEDED else None

    return await asyncio.gather(*map(pay, dues))


async def _started(scene: Scene, people: Sequence[Person], count: int) -> list[Payment]:
    places = asyncio.Semaphore(_STARTS_AT_ONCE)

    async def start(number: int) -> Payment:
        async with places:
            return await scene.deposit(people[number % len(people)], AMOUNT, PATIENT)

    return await asyncio.gather(*(start(number) for number in range(count)))


async def _ends(scene: Scene, waiting: Sequence[Payment]) -> tuple[list[float], int]:
    """When each ended, by the ledger's own record of it, and how many did not succeed."""
    back = time.time()
    async with asyncio.timeout(DRAIN_SECONDS):
        results = await asyncio.gather(*(payment.handle.result() for payment in waiting))
    ended = []
    for payment in waiting:
        completed_at = (await scene.transaction(payment)).completed_at
        assert completed_at is not None
        ended.append(completed_at.timestamp() - back)
    return ended, sum(result.status is not TransactionStatus.SUCCEEDED for result in results)
