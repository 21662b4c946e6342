"""What an operator does wrong in Temporal's UI loses nothing: payments go on, and their money moves exactly once."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from temporalio.client import WorkflowExecution, WorkflowExecutionStatus

from bank_adapters.simulator.faults import FaultKind
from tests.stack.platform import Platform
from tests.traffic.checks import check_everything
from tests.traffic.killing import quick_platform
from tests.traffic.mix import Temper
from tests.traffic.model import Order, Person
from tests.traffic.operators import Operator, meddling_with, operator_of
from tests.traffic.patience import eventually
from tests.traffic.traffic import Traffic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 20260303
AMOUNT = 1_234
PAYMENTS = 26


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform of this module's own."""
    own = quick_platform(tmp_path_factory.mktemp("operated"))
    own.up()
    yield own
    own.down()


@pytest.fixture(scope="module")
async def traffic(supervised: Platform) -> AsyncIterator[Traffic]:
    """The same people and the same dictionary through all tests."""
    async with Traffic(supervised, SEED) as running:
        yield running


@pytest.fixture(scope="module")
async def operator(supervised: Platform) -> Operator:
    """Somebody with Temporal's UI."""
    return await operator_of(supervised)


async def _bank_fails(traffic: Traffic, person: Person, kind: FaultKind) -> int:
    return (await traffic.bank.set_fault(kind, account=person.account_at_bank)).fault_id


async def _both_ways(traffic: Traffic, person: Person) -> list[Order]:
    """A deposit and a withdrawal of one person, asked for and accepted."""
    orders = [traffic.mix.deposit(person, AMOUNT), traffic.mix.withdrawal(person, AMOUNT)]
    await asyncio.gather(*map(traffic.ask, orders))
    return orders


async def _runs(operator: Operator, traffic: Traffic, orders: list[Order]) -> list[WorkflowExecution]:
    return [await operator.find(traffic.model.ids[order.key]) for order in orders]


async def _until_asked(traffic: Traffic, person: Person, times: int) -> None:
    """Wait until the bank has met this person's requests so often with a fault."""

    async def is_asked() -> bool:
        faults = await traffic.bank.faults()
        return sum(fault.used for fault in faults if fault.account_id == person.account_at_bank) >= times

    await eventually(f"the bank is asked {times} times", is_asked)


async def test_what_was_terminated_while_the_bank_was_down_is_resumed_and_paid_once(
    traffic: Traffic, operator: Operator
) -> None:
    person = traffic.person()
    fault = await _bank_fails(traffic, person, FaultKind.DOWN)
    orders = await _both_ways(traffic, person)
    for _ in range(2):
        runs = await _runs(operator, traffic, orders)
        for run in runs:
            await operator.terminate(run)
        for run in runs:
            await operator.until_another_runs(run)
    await traffic.bank.remove_fault(fault)
    await check_everything(traffic)
    assert [traffic.model.end_of(order) for order in orders] == ["succeeded", "succeeded"]


async def test_what_was_terminated_when_the_bank_had_paid_but_not_said_so_is_paid_once(
    traffic: Traffic, operator: Operator
) -> None:
    person = traffic.person()
    fault = await _bank_fails(traffic, person, FaultKind.TIMEOUT_AFTER)
    orders = await _both_ways(traffic, person)
    await _until_asked(traffic, person, 2)
    for run in await _runs(operator, traffic, orders):
        await operator.terminate(run)
    await traffic.bank.remove_fault(fault)
    await check_everything(traffic)
    assert [traffic.model.end_of(order) for order in orders] == ["succeeded", "succeeded"]


async def test_what_was_terminated_between_acceptance_and_settlement_settles_once(
    traffic: Traffic, operator: Operator
) -> None:
    orders = await _both_ways(traffic, traffic.person(Temper.SETTLES_LATER))
    for run in await _runs(operator, traffic, orders):
        await operator.terminate(run)
        await operator.until_another_runs(run)
    await check_everything(traffic)
    assert [traffic.model.end_of(order) for order in orders] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("kind", [FaultKind.DOWN, FaultKind.TIMEOUT_AFTER])
async def test_what_was_reset_to_its_beginning_is_paid_once(
    traffic: Traffic, operator: Operator, kind: FaultKind
) -> None:
    person = traffic.person()
    fault = await _bank_fails(traffic, person, kind)
    orders = await _both_ways(traffic, person)
    await _until_asked(traffic, person, 2)
    for run in await _runs(operator, traffic, orders):
        await operator.reset(run)
        await operator.until_another_runs(run)
    await traffic.bank.remove_fault(fault)
    await check_everything(traffic)
    assert [traffic.model.end_of(order) for order in orders] == ["succeeded", "succeeded"]


async def test_a_finished_payment_that_is_reset_anywhere_moves_nothing_more(
    traffic: Traffic, operator: Operator
) -> None:
    good, refused = traffic.person(), traffic.person(Temper.REFUSES)
    orders = [*await _both_ways(traffic, good), *await _both_ways(traffic, refused)]
    orders.append(traffic.mix.transfer(good, refused, AMOUNT))
    await traffic.ask(orders[-1])
    await traffic.until_final()
    for run in await _runs(operator, traffic, orders):
        for point in await operator.reset_points(run):
            await operator.reset(run, point)
            await operator.temporal.get_workflow_handle(run.id).result()
    await check_everything(traffic)


async def test_an_operator_who_meddles_with_everything_loses_nothing(traffic: Traffic, operator: Operator) -> None:
    async with meddling_with(traffic.platform, SEED) as done:
        await traffic.send(traffic.mix.draw(PAYMENTS))
    assert done["terminated"]
    assert done["reset"]
    await check_everything(traffic)
    async for run in operator.temporal.list_workflows("TransactionKind = 'deposit'"):
        assert await operator.status(run.id) is not WorkflowExecutionStatus.RUNNING
