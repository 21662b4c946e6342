"""Races on real connections: a step has one outcome, a hold ends once, payments neither lock each other up nor lose."""

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from domain.contracts.payments import StepResult
from domain.errors import LedgerRejected
from domain.transactions import Step, StepDecision, TransactionStatus
from ledger.invariants import verify
from ledger.local import LocalLedger
from tests.money.records import Records
from tests.money.requests import REFUSED_BY_BANK, Client
from tests.money.scratch import Database
from tests.stack.servers import Servers

CALLERS = 50
POOL = 8
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture
async def services(database: Database, bare_servers: Servers) -> AsyncIterator[list[LocalLedger]]:
    """Four services with pools of their own, as four processes have them."""
    settings = database.settings(bare_servers.settings, database_pool_size=POOL)
    made = [LocalLedger(settings) for _ in range(4)]
    yield made
    for service in made:
        await service.aclose()


@pytest.mark.parametrize(
    ("step", "money"), [(Step.CAPTURE_WITHDRAWAL, (600, 0)), (Step.RELEASE_WITHDRAWAL, (1_000, 0))]
)
async def test_fifty_callers_of_a_step_take_it_once(
    client: Client, records: Records, services: list[LocalLedger], step: Step, money: tuple[int, int]
) -> None:
    wallet = await client.open_wallet(1_000)
    begun = await client.begin_withdrawal(wallet, 400)
    callers = [Client(services[n % 4]) for n in range(CALLERS)]
    failure = REFUSED_BY_BANK if step is Step.RELEASE_WITHDRAWAL else None
    results = await asyncio.gather(*(caller.take(begun, step, failure=failure) for caller in callers))
    assert sorted(result.replayed for result in results) == [False] + [True] * (CALLERS - 1)
    assert {result.decision for result in results} == {StepDecision.POSTED}
    assert records.steps(begun.transaction_id) == [("hold_withdrawal", "posted"), (step, "posted")]
    assert await client.money(wallet) == money


async def test_capture_and_release_race_and_one_ends_the_hold(
    client: Client, records: Records, services: list[LocalLedger]
) -> None:
    wallet = await client.open_wallet(1_000)
    won = {Step.CAPTURE_WITHDRAWAL: 0, Step.RELEASE_WITHDRAWAL: 0}
    for round_number in range(15):
        begun = await client.begin_withdrawal(wallet, 10)
        racers = [
            *(Client(service).take(begun, Step.CAPTURE_WITHDRAWAL) for service in services),
            *(Client(service).take(begun, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK) for service in services),
        ]
        random.Random(round_number).shuffle(racers)
        results = await asyncio.gather(*racers, return_exceptions=True)
        taken = {result.step for result in results if isinstance(result, StepResult)}
        assert len(taken) == 1
        assert sum(isinstance(result, LedgerRejected) for result in results) == len(services)
        (winner,) = taken
        won[winner] += 1
        ended = "captured" if winner is Step.CAPTURE_WITHDRAWAL else "released"
        hold = records.hold(begun.transaction_id)
        assert hold is not None
        assert hold[0] == ended
        assert records.steps(begun.transaction_id) == [("hold_withdrawal", "posted"), (winner, "posted")]
    assert await client.money(wallet) == (1_000 - 10 * won[Step.CAPTURE_WITHDRAWAL], 0)


async def test_the_last_money_is_spent_once(client: Client, services: list[LocalLedger]) -> None:
    wallet, other = await client.open_wallet(100), await client.open_wallet()
    callers = [Client(service, client_id=client.client_id) for service in services]
    results = await asyncio.gather(
        *(callers[n % 4].transfer(wallet, other, 30) for n in range(20)),
        *(callers[n % 4].begin_withdrawal(wallet, 30) for n in range(20)),
    )
    assert sum(result.decision is StepDecision.POSTED for result in results) == 3
    posted, held = await client.money(wallet)
    assert posted - held == 10
    assert posted + (await client.money(other))[0] == 100


async def test_hundreds_of_payments_among_ten_wallets_neither_lock_up_nor_lose_a_cent(
    client: Client, records: Records, services: list[LocalLedger]
) -> None:
    chance = random.Random(7)
    wallets = [await client.open_wallet(1_000) for _ in range(10)]
    before = records.value(DEADLOCKS)
    callers = [Client(service, client_id=client.client_id, bank=client.bank) for service in services]

    room = asyncio.Semaphore(4 * POOL)  # Waiting for a connection is not what is tested here.

    async def pay(number: int) -> None:
        async with room:
            await pay_somehow(number)

    async def pay_somehow(number: int) -> None:
        caller = callers[number % 4]
        source, destination = chance.sample(wallets, 2)
        match chance.choice(["transfer", "transfer", "transfer", "deposit", "withdraw", "release"]):
            case "transfer":
                await caller.transfer(source, destination, chance.randint(1, 400))
            case "deposit":
                await caller.deposit(destination, 7)
            case "withdraw":
                begun = await caller.begin_withdrawal(source, 11)
                if begun.status is TransactionStatus.PROCESSING:
                    await caller.take(begun, Step.CAPTURE_WITHDRAWAL, Step.SETTLE_WITHDRAWAL)
            case _:
                begun = await caller.begin_withdrawal(source, 13)
                if begun.status is TransactionStatus.PROCESSING:
                    await caller.take(begun, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK)

    await asyncio.gather(*(pay(number) for number in range(400)))
    money = [await client.money(wallet) for wallet in wallets]
    assert sum(posted for posted, _ in money) == records.system("bank_settlement")
    assert {held for _, held in money} == {0}
    assert min(posted for posted, _ in money) >= 0
    assert records.system("clearing") == 0
    records.rows("SELECT pg_stat_clear_snapshot()")
    assert records.value(DEADLOCKS) == before
    findings = await verify(services[0].shards.all[0].engine)
    assert [finding.name for finding in findings if not finding.ok] == []


async def test_the_first_payments_at_a_bank_do_not_lock_each_other_up(
    client: Client, records: Records, services: list[LocalLedger]
) -> None:
    """Our accounts at a bank are opened when they are first needed, which everybody does at once."""
    wallets = [await client.open_wallet(1_000) for _ in range(8)]
    before = records.value(DEADLOCKS)
    for _ in range(4):
        bank = f"bank-{uuid4().hex[:8]}"
        callers = [Client(service, client_id=client.client_id, bank=bank) for service in services]
        await asyncio.gather(
            *(callers[n % 4].deposit(wallets[n % 8], 5) for n in range(12)),
            *(callers[n % 4].withdraw(wallets[n % 8], 3) for n in range(12)),
        )
    records.rows("SELECT pg_stat_clear_snapshot()")
    assert records.value(DEADLOCKS) == before


async def test_verify_is_clean_at_every_moment_while_payments_run(client: Client, services: list[LocalLedger]) -> None:
    wallets = [await client.open_wallet(1_000) for _ in range(6)]
    stop = asyncio.Event()

    async def pay(service: LocalLedger, number: int) -> int:
        caller, chance, paid = Client(service, client_id=client.client_id, bank=client.bank), random.Random(number), 0
        while not stop.is_set():
            source, destination = chance.sample(wallets, 2)
            await caller.transfer(source, destination, chance.randint(1, 300))
            await caller.deposit(destination, 3)
            if (await caller.begin_withdrawal(source, 2)).decision is StepDecision.POSTED:
                paid += 1
        return paid

    paying = [asyncio.create_task(pay(service, number)) for number, service in enumerate(services)]
    sizes = []
    for _ in range(8):
        findings = await verify(services[0].shards.all[0].engine)
        assert [(finding.name, finding.violations) for finding in findings if not finding.ok] == []
        sizes.append(max(finding.checked for finding in findings))
    stop.set()
    assert all(await asyncio.gather(*paying))
    assert sizes == sorted(set(sizes))  # Each looked at more than the one before: payments did run.
