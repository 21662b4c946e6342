"""What an operator does wrong in Temporal's UI loses nothing: payments go on, and their money moves exactly once."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import orjson
import pytest
from temporalio.client import WorkflowExecution

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.errors import DecisionCode
from tests.stack.platform import Platform
from tests.traffic.checks import check_everything
from tests.traffic.killing import quick_platform
from tests.traffic.mix import Temper
from tests.traffic.model import SUCCEEDED, Order, Person
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


async def _bank_fails(
    traffic: Traffic, kind: FaultKind, operation: Operation = Operation.ANY, seconds: float | None = None
) -> int:
    """Towards one person whom it otherwise serves well."""
    account = traffic.person().account_at_bank
    return (await traffic.bank.set_fault(kind, operation=operation, account=account, seconds=seconds)).fault_id


async def _both_ways(traffic: Traffic, person: Person) -> list[Order]:
    """A deposit and a withdrawal of one person, asked for and accepted."""
    orders = [traffic.mix.deposit(person, AMOUNT), traffic.mix.withdrawal(person, AMOUNT)]
    await asyncio.gather(*map(traffic.ask, orders))
    return orders


async def _runs(operator: Operator, traffic: Traffic, orders: list[Order]) -> list[WorkflowExecution]:
    return [await operator.find(traffic.model.ids[order.key]) for order in orders]


async def _is_hopeless(traffic: Traffic, order: Order) -> bool:
    """Whether it was refused for want of money: where that was known beforehand, it has no workflow."""
    found = orjson.loads(await traffic.app.get(f"/v1/transactions/{traffic.model.ids[order.key]}"))
    return bool(found.get("failure", {}).get("code") == DecisionCode.INSUFFICIENT_FUNDS)


async def _until_struck(traffic: Traffic, fault_id: int, times: int = 2) -> None:
    """Wait until the fault has met so many requests."""

    async def has_struck() -> bool:
        return any(fault.fault_id == fault_id and fault.used >= times for fault in await traffic.bank.faults())

    await eventually(f"fault {fault_id} strikes {times} times", has_struck)


async def _terminate(operator: Operator, traffic: Traffic, orders: list[Order]) -> None:
    """Terminate the runs of these payments and wait until the sweeper has started others."""
    runs = await _runs(operator, traffic, orders)
    for run in runs:
        await operator.terminate(run)
    for run in runs:
        await operator.until_another_runs(run)


async def _check_both_paid(traffic: Traffic, orders: list[Order]) -> None:
    await check_everything(traffic)
    assert [traffic.model.end_of(order) for order in orders] == [SUCCEEDED, SUCCEEDED]


async def test_an_operator_sees_why_a_payment_waits(traffic: Traffic, operator: Operator) -> None:
    fault = await _bank_fails(traffic, FaultKind.TIMEOUT_BEFORE)
    order = traffic.mix.withdrawal(traffic.person(), AMOUNT)
    run = await operator.find((await traffic.ask(order)).transaction_id)

    async def is_shown() -> bool:
        return ("bank_unknown", "no answer after sending: ReadTimeout") in await operator.last_failures(run.id)

    await eventually("the bank's silence is shown", is_shown)
    await traffic.bank.remove_fault(fault)
    await traffic.until_final()


async def test_what_was_terminated_while_the_bank_was_down_is_resumed_and_paid_once(
    traffic: Traffic, operator: Operator
) -> None:
    fault = await _bank_fails(traffic, FaultKind.DOWN)
    orders = await _both_ways(traffic, traffic.person())
    await _terminate(operator, traffic, orders)
    await _terminate(operator, traffic, orders)
    await traffic.bank.remove_fault(fault)
    await _check_both_paid(traffic, orders)


async def test_what_was_terminated_when_the_bank_had_paid_but_not_said_so_is_paid_once(
    traffic: Traffic, operator: Operator
) -> None:
    fault = await _bank_fails(traffic, FaultKind.TIMEOUT_AFTER)
    orders = await _both_ways(traffic, traffic.person())
    await _until_struck(traffic, fault)
    await _terminate(operator, traffic, orders)
    await traffic.bank.remove_fault(fault)
    await _check_both_paid(traffic, orders)


async def test_what_was_terminated_between_acceptance_and_settlement_settles_once(
    traffic: Traffic, operator: Operator
) -> None:
    later = await _bank_fails(traffic, FaultKind.SETTLE_LATER, seconds=0.2)
    silent = await _bank_fails(traffic, FaultKind.DOWN, Operation.LOOK_UP)
    orders = await _both_ways(traffic, traffic.person())
    await _until_struck(traffic, silent)
    await _terminate(operator, traffic, orders)
    for fault in (later, silent):
        await traffic.bank.remove_fault(fault)
    await _check_both_paid(traffic, orders)


@pytest.mark.parametrize("kind", [FaultKind.DOWN, FaultKind.TIMEOUT_AFTER])
async def test_what_was_reset_to_its_beginning_is_paid_once(
    traffic: Traffic, operator: Operator, kind: FaultKind
) -> None:
    fault = await _bank_fails(traffic, kind)
    orders = await _both_ways(traffic, traffic.person())
    await _until_struck(traffic, fault)
    for run in await _runs(operator, traffic, orders):
        await operator.reset(run)
        await operator.until_another_runs(run)
    await traffic.bank.remove_fault(fault)
    await _check_both_paid(traffic, orders)


async def test_a_finished_payment_that_is_reset_anywhere_moves_nothing_more(
    traffic: Traffic, operator: Operator
) -> None:
    good, refused = traffic.person(), traffic.person(Temper.REFUSES)
    orders = [*await _both_ways(traffic, good), *await _both_ways(traffic, refused)]
    orders.append(traffic.mix.transfer(good, refused, AMOUNT))
    await traffic.ask(orders[-1])
    await traffic.until_final()
    carried = [order for order in orders if not await _is_hopeless(traffic, order)]
    assert len(carried) >= 2, "both have deposited"
    for run in await _runs(operator, traffic, carried):
        for point in await operator.reset_points(run):
            await operator.reset(run, point)
            await operator.temporal.get_workflow_handle(run.id).result()
    await check_everything(traffic)


async def test_an_operator_who_meddles_with_everything_loses_nothing(traffic: Traffic, operator: Operator) -> None:
    async with meddling_with(traffic.platform, SEED) as done:
        while not (done["terminated"] and done["reset"]):
            await traffic.send(traffic.mix.draw(PAYMENTS))
    await check_everything(traffic)
    await eventually("no workflow of a payment runs", operator.has_nothing_open)
