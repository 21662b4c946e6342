"""Paths on which the bank gives no answer and a person says what it did, rightly or wrongly. Nothing moves twice."""

import asyncio
from dataclasses import replace

from temporalio.client import WorkflowUpdateFailedError

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.contracts.operators import ActionKind, BankOutcome, NewAction, Via
from domain.contracts.payments import RetryPlan
from domain.contracts.workflows import CANNOT_RESOLVE, OperatorCommand
from domain.errors import CannotApprove, DecisionCode
from domain.ids import ActionId
from domain.transactions import TransactionStatus
from tests.workflow.operators import current_details, refusal_of, retry, sweep
from tests.workflow.paths import path
from tests.workflow.scene import OPENING, PERSISTENT, Payment, Person, Scene, until

SUCCEEDED, FAILED = TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
PAID, SETTLED, NOT_PAID = BankOutcome.PAID, BankOutcome.SETTLED, BankOutcome.NOT_PAID
MARIA, JOHN = "operator:maria", "operator:john"
LONG_SECONDS = 3600
ANSWERS_AFTER_SECONDS = 1
UNHURRIED = RetryPlan(quick_retry_seconds=2, slow_retry_seconds=5, settlement_poll_seconds=0.2)
"""Leaves a person time between two tries."""


async def asked(scene: Scene, payment: Payment, kind: ActionKind, outcome: BankOutcome) -> ActionId:
    """Record, as the API does, that Maria asks for it."""
    attention = (await scene.transaction(payment)).attention
    assert attention is not None
    action = NewAction(
        action_id=ActionId.new(payment.transaction_id.bucket),
        transaction_id=payment.transaction_id,
        kind=kind,
        via=Via.API,
        by=MARIA,
        reason="a test",
        outcome=outcome,
        evidence="call 4711" if kind is ActionKind.RESOLVE else None,
        step=attention.step,
        since=attention.since,
    )
    return (await scene.ledger.ask_action(action)).action_id


async def tell(payment: Payment, kind: ActionKind, action_id: str, outcome: BankOutcome) -> str:
    """The update, as the API sends it and as anybody may in the Temporal UI."""
    command = OperatorCommand(by=MARIA, reason="a test", action_id=action_id, outcome=outcome)
    answer: str = await payment.handle.execute_update(kind.value, command, result_type=str)
    return answer


async def ruled(scene: Scene, payment: Payment, outcome: BankOutcome) -> ActionId:
    """Resolve it, between two tries, and see that it is told in the timeline."""
    action_id = await asked(scene, payment, ActionKind.RESOLVE, outcome)
    while not await _taken(payment, action_id, outcome):
        await asyncio.sleep(0.2)
        action_id = await asked(scene, payment, ActionKind.RESOLVE, outcome)
    (told,) = [item for item in await scene.ledger.timeline(payment.transaction_id) if item.type == "operator.resolve"]
    assert (told.detail["by"], told.detail["outcome"], told.detail["evidence"]) == (MARIA, outcome, "call 4711")
    return action_id


async def _taken(payment: Payment, action_id: ActionId, outcome: BankOutcome) -> bool:
    try:
        await tell(payment, ActionKind.RESOLVE, action_id, outcome)
    except WorkflowUpdateFailedError as error:
        if "under way" not in str(error.cause):
            raise
        return False
    return True


async def _silent_after(scene: Scene, person: Person, operation: Operation) -> int:
    """The bank does what it is told, says nothing, and does not answer questions either."""
    await scene.misbehave(person, FaultKind.TIMEOUT_AFTER, operation, times=1)
    return await scene.misbehave(person, FaultKind.DOWN, Operation.LOOK_UP)


async def _forced(scene: Scene, payment: Payment, outcome: BankOutcome) -> None:
    """Two people, and not one of them alone."""
    action_id = await asked(scene, payment, ActionKind.FORCE, outcome)
    assert await refusal_of(tell(payment, ActionKind.FORCE, action_id, outcome)) == CANNOT_RESOLVE
    try:
        await scene.ledger.approve_action(action_id, MARIA, "it is me again")
    except CannotApprove:
        await scene.ledger.approve_action(action_id, JOHN, "I agree")
    assert await tell(payment, ActionKind.FORCE, action_id, outcome) == f"going on as {outcome}"


@path
async def withdrawal_resolved_as_paid(scene: Scene) -> Payment:
    """The bank has paid and is silent; it is captured on a person's word, and settled when the bank is back."""
    person = await scene.person(balance=1_000)
    silent = await _silent_after(scene, person, Operation.PUSH)
    payment = await scene.withdraw(person, 300, UNHURRIED)
    await scene.parked(payment, "bank_unavailable")
    assert "sagapay attention resolve" in await current_details(payment)
    for bogus in ("", "act_", ActionId.new(payment.transaction_id.bucket)):
        assert await refusal_of(tell(payment, ActionKind.RESOLVE, bogus, PAID)) == CANNOT_RESOLVE
    mismatched = await asked(scene, payment, ActionKind.RESOLVE, NOT_PAID)
    assert await refusal_of(tell(payment, ActionKind.RESOLVE, mismatched, PAID)) == CANNOT_RESOLVE
    assert await scene.money(person) == (1_000, 300)
    await ruled(scene, payment, PAID)
    await scene.eventually(payment, "step.posted capture_withdrawal")
    assert await scene.money(person) == (700, 0)
    await scene.admin.remove_fault(silent)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_resolved_as_not_paid(scene: Scene) -> Payment:
    """The bank has not paid and is down: the hold is released on a person's word, and the bank agrees when back."""
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN)
    payment = await scene.withdraw(person, 300, UNHURRIED)
    await scene.parked(payment, "bank_unavailable")
    await ruled(scene, payment, NOT_PAID)
    await scene.eventually(payment, "step.posted release_withdrawal")
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    await scene.admin.remove_fault(fault)
    await scene.finish(payment, FAILED, DecisionCode.RESOLVED_UNPAID)
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    return payment


@path
async def deposit_resolved_as_paid(scene: Scene) -> Payment:
    person = await scene.person()
    silent = await _silent_after(scene, person, Operation.PULL)
    payment = await scene.deposit(person, 700, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    await ruled(scene, payment, PAID)
    await scene.eventually(payment, "step.posted credit_deposit")
    assert await scene.money(person) == (700, 0)
    await scene.admin.remove_fault(silent)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def deposit_resolved_as_settled(scene: Scene) -> Payment:
    """The bank has accepted it and fallen silent: `paid` is no news and settles nothing, `settled` ends it."""
    person = await scene.person()
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PULL, times=1, seconds=LONG_SECONDS)
    silent = await scene.misbehave(person, FaultKind.DOWN, Operation.LOOK_UP)
    payment = await scene.deposit(person, 700, UNHURRIED)
    await scene.parked(payment, "bank_unavailable")
    assert await scene.money(person) == (700, 0)
    action_id = await asked(scene, payment, ActionKind.RESOLVE, PAID)
    assert await refusal_of(tell(payment, ActionKind.RESOLVE, action_id, PAID)) == CANNOT_RESOLVE
    assert (await scene.transaction(payment)).status is TransactionStatus.PROCESSING
    await ruled(scene, payment, SETTLED)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.money(person) == (700, 0)
    await scene.admin.remove_fault(silent)
    await scene.admin.settle_now(f"{payment.transaction_id}:deposit")
    assert await scene.at_bank(person) == OPENING - 700
    return payment


@path
async def withdrawal_resolved_as_settled(scene: Scene) -> Payment:
    """The bank has paid and says nothing: its statement has it, so nobody waits for its word."""
    person = await scene.person(balance=1_000)
    silent = await _silent_after(scene, person, Operation.PUSH)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    await ruled(scene, payment, SETTLED)
    await scene.finish(payment, SUCCEEDED)
    await scene.admin.remove_fault(silent)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def deposit_resolved_as_the_bank_answers(scene: Scene) -> Payment:
    """The bank says itself that it has accepted it, while a person says so: said once, and not of its settlement."""
    person = await scene.person()
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PULL, times=1, seconds=LONG_SECONDS)
    silent = await _silent_after(scene, person, Operation.PULL)
    payment = await scene.deposit(
        person, 700, replace(UNHURRIED, quick_retry_seconds=5, slow_retry_seconds=LONG_SECONDS)
    )
    await scene.parked(payment)
    await scene.admin.remove_fault(silent)
    slow = await scene.misbehave(person, FaultKind.SLOW, Operation.LOOK_UP, times=1, seconds=ANSWERS_AFTER_SECONDS)
    action_id = await asked(scene, payment, ActionKind.RESOLVE, PAID)

    async def is_asked() -> bool:
        await retry(payment)
        return await scene.struck(slow) > 0

    await until("the bank is asked", is_asked)
    assert await tell(payment, ActionKind.RESOLVE, action_id, PAID) == "going on as paid"
    await scene.eventually(payment, "step.posted credit_deposit")
    await scene.admin.remove_fault(slow)
    again = await scene.misbehave(person, FaultKind.SLOW, Operation.LOOK_UP, seconds=0.01)

    async def is_asked_again() -> bool:
        return await scene.struck(again) > 1

    await until("the bank is asked whether it has settled", is_asked_again)
    assert (await scene.transaction(payment)).status is TransactionStatus.PROCESSING
    await scene.admin.settle_now(f"{payment.transaction_id}:deposit")
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def deposit_resolved_as_not_paid(scene: Scene) -> Payment:
    person = await scene.person()
    fault = await scene.misbehave(person, FaultKind.DOWN)
    payment = await scene.deposit(person, 700, UNHURRIED)
    await scene.parked(payment, "bank_unavailable")
    await ruled(scene, payment, NOT_PAID)
    await scene.eventually(payment, "step.posted fail_deposit")
    await scene.admin.remove_fault(fault)
    await scene.finish(payment, FAILED, DecisionCode.RESOLVED_UNPAID)
    assert await scene.all_of(person) == (0, 0, OPENING)
    return payment


@path
async def withdrawal_forced_as_paid(scene: Scene) -> Payment:
    """Two people agree where one alone is refused."""
    person = await scene.person(balance=1_000)
    silent = await _silent_after(scene, person, Operation.PUSH)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    await _forced(scene, payment, PAID)
    await scene.eventually(payment, "step.posted capture_withdrawal")
    await scene.admin.remove_fault(silent)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_resolved_as_paid_then_terminated(scene: Scene) -> Payment:
    """The word outlives the run that heard it: the next one does not send what it says was paid."""
    person = await scene.person(balance=1_000)
    silent = await _silent_after(scene, person, Operation.PUSH)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    await ruled(scene, payment, PAID)
    await scene.eventually(payment, "step.posted capture_withdrawal")
    await payment.handle.terminate("a test")
    await sweep(scene.temporal)
    await scene.admin.remove_fault(silent)
    await scene.resumed(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_resolved_as_paid_wrongly(scene: Scene) -> Payment:
    """The bank never got it. It is asked all the same, and parks again; one person's word is not enough then."""
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    earlier = await ruled(scene, payment, PAID)
    await scene.eventually(payment, "step.posted capture_withdrawal")
    await scene.admin.remove_fault(fault)
    await scene.parked(payment, "bank_contradicts_itself")
    assert await scene.all_of(person) == (700, 0, OPENING - 1_000)
    assert await refusal_of(tell(payment, ActionKind.RESOLVE, earlier, PAID)) == CANNOT_RESOLVE
    action_id = await asked(scene, payment, ActionKind.FORCE, NOT_PAID)
    await scene.ledger.approve_action(action_id, JOHN, "I agree")
    assert await refusal_of(tell(payment, ActionKind.FORCE, action_id, NOT_PAID)) == CANNOT_RESOLVE
    assert await scene.all_of(person) == (700, 0, OPENING - 1_000)
    return payment


@path
async def withdrawal_resolved_as_not_paid_wrongly(scene: Scene) -> Payment:
    """The bank has paid, as it says when it is back: the payment has ended, and shows it until two people end that."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PUSH, times=1, seconds=LONG_SECONDS)
    silent = await _silent_after(scene, person, Operation.PUSH)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    await ruled(scene, payment, NOT_PAID)
    await scene.eventually(payment, "step.posted release_withdrawal")
    assert await scene.money(person) == (1_000, 0)
    await scene.admin.remove_fault(silent)
    await scene.parked(payment, "bank_contradicts_itself")
    assert (await scene.transaction(payment)).status is FAILED
    await retry(payment)
    await scene.parked(payment, "bank_contradicts_itself")
    assert await scene.money(person) == (1_000, 0)
    await _forced(scene, payment, NOT_PAID)
    await scene.finish(payment, FAILED, DecisionCode.RESOLVED_UNPAID)
    assert await scene.money(person) == (1_000, 0)
    return payment
