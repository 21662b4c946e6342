"""Paths on which an operator ends, resets or deletes a workflow: the payment loses nothing and happens once."""

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.errors import DecisionCode
from domain.transactions import TransactionStatus
from tests.workflow.operators import cancel, delete, reset, sweep
from tests.workflow.paths import path
from tests.workflow.scene import IMPATIENT, OPENING, PERSISTENT, RESTLESS, Payment, Scene, until

SUCCEEDED, FAILED = TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
PAID = ["step.posted hold_withdrawal", "step.posted capture_withdrawal", "step.posted settle_withdrawal"]


async def _steps(scene: Scene, payment: Payment) -> list[str]:
    return [item for item in await scene.timeline(payment) if item.startswith("step.")]


@path
async def withdrawal_terminated_then_swept(scene: Scene) -> Payment:
    """Ended while the bank is down, with the money held."""
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, IMPATIENT)
    await scene.parked(payment, "bank_unavailable")
    await payment.handle.terminate("a test")
    assert await scene.all_of(person) == (1_000, 300, OPENING - 1_000)
    await scene.admin.remove_fault(fault)
    await sweep(scene.temporal)  # Other paths sweep at the same time: whose sweep restarts it is left open.
    await scene.resumed(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert await _steps(scene, payment) == PAID
    return payment


@path
async def withdrawal_paid_terminated_then_swept(scene: Scene) -> Payment:
    """The bank has paid and not answered when the workflow is ended: the next one finds it and pays nothing twice."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.TIMEOUT_AFTER, Operation.PUSH, times=1)
    silent = await scene.misbehave(person, FaultKind.DOWN, Operation.LOOK_UP)
    payment = await scene.withdraw(person, 300, IMPATIENT)
    await scene.parked(payment)
    await payment.handle.terminate("a test")
    assert await scene.all_of(person) == (1_000, 300, OPENING - 700)
    await scene.admin.remove_fault(silent)
    await sweep(scene.temporal)
    await scene.resumed(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert await _steps(scene, payment) == PAID
    return payment


@path
async def deposit_terminated_then_swept(scene: Scene) -> Payment:
    """Ended between the credit and the settlement."""
    person = await scene.person()
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PULL, times=1, seconds=1)
    payment = await scene.deposit(person, 700)
    await scene.eventually(payment, "step.posted credit_deposit")
    await payment.handle.terminate("a test")
    await sweep(scene.temporal)
    await scene.resumed(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_deleted_then_swept(scene: Scene) -> Payment:
    """Temporal has forgotten the workflow altogether."""
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, IMPATIENT)
    await scene.parked(payment, "bank_unavailable")
    await delete(scene.temporal, payment)
    await scene.admin.remove_fault(fault)
    await sweep(scene.temporal)
    await scene.resumed(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert await _steps(scene, payment) == PAID
    return payment


@path
async def withdrawal_reset_to_its_beginning(scene: Scene) -> Payment:
    """A paid withdrawal runs once more from its first task: every step gives its recorded outcome back."""
    person = await scene.person(balance=1_000)
    payment = await scene.withdraw(person, 300)
    await scene.finish(payment, SUCCEEDED)
    await reset(scene.temporal, payment)
    await scene.resumed(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert await _steps(scene, payment) == PAID
    return payment


@path
async def deposit_reset_while_parked(scene: Scene) -> Payment:
    """The bank has taken the money and is silent; the new run begins from the first task and finds it taken."""
    person = await scene.person()
    await scene.misbehave(person, FaultKind.TIMEOUT_AFTER, Operation.PULL, times=1)
    silent = await scene.misbehave(person, FaultKind.DOWN, Operation.LOOK_UP)
    payment = await scene.deposit(person, 700, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    await reset(scene.temporal, payment)
    await scene.admin.remove_fault(silent)
    await scene.resumed(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_reset_after_it_was_cancelled(scene: Scene) -> Payment:
    """The hold is released and the bank never paid. A run that forgets the cancellation may not pay now."""
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    await cancel(payment)
    await scene.finish(payment, FAILED, DecisionCode.CANCELLED)
    await scene.admin.remove_fault(fault)
    await reset(scene.temporal, payment, task=1, forgets=True)
    await scene.resumed(payment, FAILED, DecisionCode.CANCELLED)
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    return payment


@path
async def withdrawal_reset_while_it_is_cancelled(scene: Scene) -> Payment:
    """Cancelled while the bank had paid and was silent; the reset run hears the cancellation at its very beginning."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.TIMEOUT_AFTER, Operation.PUSH, times=1)
    silent = await scene.misbehave(person, FaultKind.DOWN, Operation.LOOK_UP)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    await cancel(payment)
    await reset(scene.temporal, payment)
    await scene.admin.remove_fault(silent)
    await scene.resumed(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_continued_as_new(scene: Scene) -> Payment:
    """Parked until its history is long: the next run knows what it needs and that attention was raised."""
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, RESTLESS)
    await scene.parked(payment)
    first_run = (await payment.handle.describe()).run_id

    async def in_a_new_run() -> bool:
        return (await payment.handle.describe()).run_id != first_run

    await until("the payment goes on in a new run", in_a_new_run)
    attention = (await scene.transaction(payment)).attention
    assert attention is not None
    await scene.findable(payment, "Attention IS NOT NULL AND ExecutionStatus = 'Running'")
    await scene.admin.remove_fault(fault)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert (await scene.timeline(payment)).count("attention.cleared") == 1
    await scene.findable(payment, "Attention IS NULL AND TransactionStatus = 'succeeded'")
    return payment


@path
async def withdrawal_cancelled_then_continued_as_new(scene: Scene) -> Payment:
    """A cancellation outlives the run that heard it: the next one sends nothing, though the bank is back."""
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, RESTLESS)
    await scene.parked(payment)
    await cancel(payment)
    await scene.parked(payment, "bank_unknown")
    first_run = (await payment.handle.describe()).run_id
    await scene.admin.remove_fault(fault)
    await scene.finish(payment, FAILED, DecisionCode.CANCELLED)
    assert (await payment.handle.describe()).run_id != first_run
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    return payment
