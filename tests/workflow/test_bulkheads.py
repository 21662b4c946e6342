"""A bank that hangs takes no place of another bank's payments, though the same worker serves both."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from bank_adapters.simulated.adapter import SimulatedBank
from bank_adapters.simulator.faults import FaultKind, Operation
from domain.transactions import TransactionStatus
from infra.settings import Settings
from ledger.batches import Batches
from tests.stack.bank import BankProcess, other_bank, running_bank
from tests.workflow.scene import Scene, open_scene, polling, until
from worker import build_workers

pytestmark = pytest.mark.slow

PLACES = 3
"""Calls to one bank that the worker makes at once."""
WAITING = 2 * PLACES


@pytest.fixture
def other_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    with running_bank(tmp_path_factory.mktemp("other")) as bank:
        yield bank


@pytest.fixture
async def scenes(
    own_stage: tuple[Settings, BankProcess], other_process: BankProcess
) -> AsyncIterator[tuple[Scene, Scene]]:
    """The same ledger and worker with each of two banks. The worker has few places."""
    settings = own_stage[0].model_copy(update={"worker_max_concurrent": PLACES})
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(open_scene(settings, own_stage[1]))
        bank = other_bank(SimulatedBank(other_process.url, request_timeout_seconds=60))
        stack.push_async_callback(bank.aclose)
        admin = await stack.enter_async_context(other_process.admin())
        there = replace(here, bank=bank, process=other_process, admin=admin)
        banks = {scene.bank.name: scene.bank for scene in (here, there)}
        workers = build_workers(
            here.temporal, here.ledger, here.directory, Batches(here.ledger.shards), banks, settings=settings
        )
        async with polling(workers):
            yield here, there


async def test_a_bank_that_hangs_takes_no_place_of_another(scenes: tuple[Scene, Scene]) -> None:
    here, there = scenes
    stuck, person = await there.person(), await here.person(balance=1_000)
    fault = await there.admin.set_fault(FaultKind.SLOW, operation=Operation.PULL, seconds=30)
    waiting = [await there.deposit(stuck, 100) for _ in range(WAITING)]

    async def all_places_taken() -> bool:
        return await there.struck(fault.fault_id) == PLACES

    await until("every place of the other bank is taken", all_places_taken)
    await here.finish(await here.deposit(person, 100), TransactionStatus.SUCCEEDED)
    await here.finish(await here.withdraw(person, 50), TransactionStatus.SUCCEEDED)
    assert await there.struck(fault.fault_id) == PLACES
    for payment in waiting:
        assert (await there.transaction(payment)).status is TransactionStatus.PROCESSING
    assert await here.money(person) == (1_050, 0)
    there.process.kill()
    assert [finding.name for finding in await here.verify() if not finding.ok] == []
