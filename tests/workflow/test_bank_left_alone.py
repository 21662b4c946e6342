"""Payments of a bank that is left alone wait in its queue, not in attempts; and go on when it is back."""

from collections.abc import AsyncIterator

import pytest

from bank_adapters.breaker import Phase
from bank_adapters.breaker_states import OwnStates
from bank_adapters.guarded import CALLS, GuardedBank
from domain.contracts.payments import RetryPlan
from domain.transactions import TransactionStatus
from infra.settings import Settings
from ledger.batches import Batches
from tests.stack.bank import BankProcess
from tests.workflow.scene import Scene, open_scene, polling, until
from worker import build_workers, guarded

pytestmark = pytest.mark.slow

PAUSE_SECONDS = 3
WAITING = 40
PATIENT = RetryPlan(quick_retry_seconds=600)


@pytest.fixture
async def scene(own_stage: tuple[Settings, BankProcess]) -> AsyncIterator[tuple[Scene, GuardedBank]]:
    settings = own_stage[0].model_copy(update={"bank_breaker_pause_seconds": PAUSE_SECONDS})
    async with open_scene(settings, own_stage[1]) as here:
        banks = guarded({here.bank.name: here.bank}, OwnStates(), settings)
        workers = build_workers(
            here.temporal, here.ledger, here.directory, Batches(here.ledger.shards), banks, settings=settings
        )
        async with polling(workers):
            bank = banks[here.bank.name]
            assert isinstance(bank, GuardedBank)
            yield here, bank


def _attempts(bank: GuardedBank) -> float:
    """Calls that were made or held back, so far."""
    return sum(
        sample.value
        for metric in CALLS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["bank"] == bank.name
    )


async def test_payments_of_a_dead_bank_wait_without_attempts_and_end_when_it_is_back(
    scene: tuple[Scene, GuardedBank],
) -> None:
    here, bank = scene
    person = await here.person()
    here.process.kill()
    first = [await here.deposit(person, 100, PATIENT) for _ in range(5)]

    async def left_alone() -> bool:
        return bank.breaker.phase is not Phase.CLOSED

    await until("the breaker is open", left_alone)
    before = _attempts(bank)
    waiting = [await here.deposit(person, 100, PATIENT) for _ in range(WAITING)]

    async def probed_twice() -> bool:
        return bank.breaker.openings >= 3

    await until("the bank was tried twice", probed_twice)
    # Two pauses: places at half a second each, three tries after each pause, and what had been fetched already.
    assert _attempts(bank) - before < WAITING
    here.process.restart()
    for payment in [*first, *waiting]:
        await here.finish(payment, TransactionStatus.SUCCEEDED)
    assert await here.money(person) == (100 * (len(first) + WAITING), 0)
    assert [finding.name for finding in await here.verify() if not finding.ok] == []
