"""Runbooks of payments whose bank is silent, late, or contradicts itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bank_adapters.port import PaymentInstruction
from bank_adapters.simulator.faults import FaultKind, Operation
from domain.contracts.bank_events import BANK_HAS_NEWS_SIGNAL
from domain.contracts.operators import ActionState, BankOutcome
from domain.contracts.payments import CONTRADICTION, RetryPlan
from domain.errors import DecisionCode
from domain.ids import ActionId
from domain.money import Money
from domain.transactions import TransactionStatus
from tests.operating.desk import ACTIONS, WAITS_FOR_A_PERSON, Desk
from tests.operating.performing import performs
from tests.operating.runbook import Runbook
from tests.operating.temporal_ui import TemporalUi
from tests.workflow.operators import current_details
from tests.workflow.paths_ruled import ruled
from tests.workflow.scene import OPENING, Payment, Person, Scene, until

SUCCEEDED, FAILED = TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
AN_HOUR = 3600
UNHURRIED_BUT_LONG = RetryPlan(quick_retry_seconds=5, slow_retry_seconds=5, settlement_poll_seconds=0.2)
IMPATIENT_WITH_WORKERS = RetryPlan(quick_retry_seconds=1, slow_retry_seconds=600, settlement_poll_seconds=0.2)


@asynccontextmanager
async def opened(desk: Desk, book: Runbook, payment: Payment) -> AsyncIterator[TemporalUi]:
    """The page of a payment that is parked for the runbook's reason, found as the runbook says."""
    condition = book.filter
    await desk.scene.parked(payment, None if book.reason == "any_other" else book.reason)
    async with desk.opened(book.reason, condition, payment.handle.id) as ui:
        yield ui


def by_maria(told: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """What Maria has told a payment from the Temporal UI, and why."""
    return [(kind, reason) for kind, by, reason in told if by == "maria"]


@performs("bank_unavailable")
async def bank_unavailable(desk: Desk, book: Runbook) -> None:
    """One is tried again in the UI, the other with all that wait for the bank."""
    scene = desk.scene
    people = [await scene.person(balance=1_000) for _ in range(2)]
    faults = [await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH) for person in people]
    by_hand, in_bulk = [await scene.withdraw(person, 300, WAITS_FOR_A_PERSON) for person in people]
    async with opened(desk, book, by_hand) as ui:
        await scene.parked(in_bulk, "bank_unavailable")
        for fault in faults:
            await scene.admin.remove_fault(fault)
        await ui.send_update("retry", book.take("UPDATE retry"))
    await scene.finish(by_hand, SUCCEEDED)
    assert by_maria(await scene.told(by_hand)) == [("retry", "the bank says it is back")]
    await desk.shell(book.take("sh"))
    await scene.finish(in_bulk, SUCCEEDED)
    assert "parked" not in await current_details(in_bulk)
    for person in people:
        assert await scene.all_of(person) == (700, 0, OPENING - 700)


@performs("bank_unknown")
async def bank_unknown(desk: Desk, book: Runbook) -> None:
    """One the bank never got, and it is cancelled; the other it has paid, says nothing, and says so by telephone."""
    scene = desk.scene
    unpaid, paid = [await scene.person(balance=1_000) for _ in range(2)]
    await scene.misbehave(unpaid, FaultKind.TIMEOUT_BEFORE, Operation.PUSH)
    await scene.misbehave(paid, FaultKind.TIMEOUT_AFTER, Operation.PUSH, times=1)
    silent = await scene.misbehave(paid, FaultKind.TIMEOUT_BEFORE, Operation.LOOK_UP)
    cancelled = await scene.withdraw(unpaid, 300, UNHURRIED_BUT_LONG)
    resolved = await scene.withdraw(paid, 300, UNHURRIED_BUT_LONG)
    async with opened(desk, book, cancelled) as ui:
        await ui.send_update("cancel", book.take("UPDATE cancel"))
    await scene.finish(cancelled, FAILED, DecisionCode.CANCELLED)
    assert await scene.all_of(unpaid) == (1_000, 0, OPENING - 1_000)
    await scene.parked(resolved, "bank_unknown")
    await desk.shell(book.take("sh"), payment=resolved.transaction_id)
    await scene.eventually(resolved, "step.posted capture_withdrawal")
    await scene.admin.remove_fault(silent)
    await scene.finish(resolved, SUCCEEDED)
    assert await scene.all_of(paid) == (700, 0, OPENING - 700)


@performs("timed_out", alone=True)
async def timed_out(desk: Desk, book: Runbook) -> None:
    """Nobody polls the bank's queue: a deposit waits for a worker."""
    scene = desk.scene
    person = await scene.person()
    payment = await scene.deposit(person, 700, IMPATIENT_WITH_WORKERS)
    async with opened(desk, book, payment) as ui:
        await desk.start_workers(at_banks=True)
        await ui.send_update("retry", book.take("UPDATE retry"))
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert by_maria(await scene.told(payment)) == [("retry", "a worker is there again")]


async def _paid_at_the_bank_after_all(scene: Scene, person: Person, payment: Payment) -> None:
    """As the letter says."""
    order = PaymentInstruction(
        reference=f"{payment.transaction_id}:withdrawal",
        account_token=person.customer.account_token,
        amount=Money(300, "USD"),
    )
    await scene.bank.push(order)


@performs("bank_contradicts_itself")
async def bank_contradicts_itself(desk: Desk, book: Runbook) -> None:
    """One that a person called paid and the bank does not know; one that ended as not paid and the bank has paid."""
    scene = desk.scene
    person, freed = await scene.person(balance=1_000), await scene.person(balance=1_000)
    # Both park as bank_unknown, so that nobody who tries again all that waits for a bank meets them.
    down = await scene.misbehave(person, FaultKind.TIMEOUT_BEFORE)
    await scene.misbehave(freed, FaultKind.SETTLE_LATER, Operation.PUSH, times=1, seconds=AN_HOUR)
    await scene.misbehave(freed, FaultKind.TIMEOUT_AFTER, Operation.PUSH, times=1)
    silent = await scene.misbehave(freed, FaultKind.TIMEOUT_BEFORE, Operation.LOOK_UP)
    payment, ended = [await scene.withdraw(each, 300, WAITS_FOR_A_PERSON) for each in (person, freed)]
    await scene.parked(payment, "bank_unknown")
    await scene.parked(ended, "bank_unknown")
    await ruled(scene, payment, BankOutcome.PAID)
    await ruled(scene, ended, BankOutcome.NOT_PAID)
    await scene.admin.remove_fault(down)
    await scene.admin.remove_fault(silent)
    for each in (payment, ended):
        await _contradicted(scene, each)

    async with opened(desk, book, payment):
        await _forced(desk, book, payment)
    await scene.finish(payment, SUCCEEDED)
    await _paid_at_the_bank_after_all(scene, person, payment)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)

    assert (await scene.transaction(ended)).status is FAILED
    await _forced(desk, book, ended)
    await scene.finish(ended, FAILED, DecisionCode.RESOLVED_UNPAID)
    assert await scene.money(freed) == (1_000, 0)


async def _forced(desk: Desk, book: Runbook, payment: Payment) -> None:
    """One proposes, another approves; nobody alone."""
    printed = await desk.shell(book.take("sh"), payment=payment.transaction_id, key=desk.maria)
    (action,) = set(ACTIONS.findall(printed))
    recorded = await desk.scene.ledger.actions(payment.transaction_id)
    assert {each.action_id: each.state for each in recorded}[ActionId(action)] is ActionState.ASKED
    await desk.shell(book.take("sh"), payment=payment.transaction_id, action=action, key=desk.john)


async def _contradicted(scene: Scene, payment: Payment) -> None:
    """Have the bank asked until its answer is certain, which is not what a person said."""

    async def contradicted() -> bool:
        attention = (await scene.transaction(payment)).attention
        if attention is not None and attention.reason == CONTRADICTION:
            return True
        await payment.handle.signal(BANK_HAS_NEWS_SIGNAL, "evt_test")
        await asyncio.sleep(1)
        return False

    await until("the bank contradicts it", contradicted)
