"""Paths on which somebody says stop: it ends unpaid if the bank never got it, and goes on if the bank has it."""

from temporalio.client import WithStartWorkflowOperation

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.contracts.payments import PAYMENT_QUEUE, PaymentResult
from domain.contracts.workflows import CANCEL_UPDATE, CANNOT_CANCEL, WITHDRAWAL_WORKFLOW
from domain.errors import DecisionCode
from domain.transactions import TransactionKind, TransactionStatus
from infra.temporal import payment_attributes
from tests.workflow.operators import COMMAND, cancel, refusal_of
from tests.workflow.paths import path
from tests.workflow.scene import OPENING, PERSISTENT, Payment, Scene
from tests.workflow.starting import CONFLICT, REUSE, accepted

SUCCEEDED, FAILED = TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
RELEASED = ["step.posted hold_withdrawal", "step.posted release_withdrawal"]


@path
async def withdrawal_cancelled_before_sending(scene: Scene) -> Payment:
    """The cancellation comes with the start, before the first step."""
    person = await scene.person(balance=1_000)
    request = scene.asked(TransactionKind.WITHDRAWAL, 300, source=person)
    operation: WithStartWorkflowOperation[object, PaymentResult] = WithStartWorkflowOperation(
        WITHDRAWAL_WORKFLOW,
        request,
        id=request.workflow_id,
        task_queue=PAYMENT_QUEUE,
        result_type=PaymentResult,
        id_reuse_policy=REUSE,
        id_conflict_policy=CONFLICT,
        search_attributes=payment_attributes(request),
    )
    told = await scene.temporal.execute_update_with_start_workflow(
        CANCEL_UPDATE, COMMAND, start_workflow_operation=operation, result_type=str
    )
    assert told == "cancelling"
    payment = Payment(request, await operation.workflow_handle(), await accepted(scene.temporal, request))
    await scene.finish(payment, FAILED, DecisionCode.CANCELLED)
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    assert await scene.timeline(payment) == RELEASED
    return payment


@path
async def withdrawal_cancelled_while_parked(scene: Scene) -> Payment:
    """The bank is asked, has certainly never seen it, and the hold is released."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    assert await refusal_of(cancel(payment)) == CANNOT_CANCEL
    await scene.parked(payment, "bank_unavailable")
    await cancel(payment)
    await scene.parked(payment, "bank_unknown")
    assert await scene.all_of(person) == (1_000, 300, OPENING - 1_000)
    await scene.finish(payment, FAILED, DecisionCode.CANCELLED)
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    assert [item for item in await scene.timeline(payment) if item.startswith("step.")] == RELEASED
    return payment


@path
async def deposit_cancelled_while_parked(scene: Scene) -> Payment:
    person = await scene.person()
    await scene.misbehave(person, FaultKind.DOWN, Operation.PULL)
    payment = await scene.deposit(person, 700, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    await cancel(payment)
    await scene.finish(payment, FAILED, DecisionCode.CANCELLED)
    assert await scene.all_of(person) == (0, 0, OPENING)
    return payment


@path
async def withdrawal_cancelled_though_the_bank_has_paid(scene: Scene) -> Payment:
    """The bank paid, timed out and went silent: asked at last, it says so, and the payment goes on to its end."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.TIMEOUT_AFTER, Operation.PUSH, times=1)
    silent = await scene.misbehave(person, FaultKind.DOWN, Operation.LOOK_UP)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    await cancel(payment)
    assert await scene.all_of(person) == (1_000, 300, OPENING - 700)
    await scene.admin.remove_fault(silent)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_cancelled_too_late(scene: Scene) -> Payment:
    """Once the bank has accepted, the cancellation is refused, and the payment ends paid."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PUSH, times=1, seconds=2)
    payment = await scene.withdraw(person, 300)
    await scene.eventually(payment, "step.posted capture_withdrawal")
    assert await refusal_of(cancel(payment)) == CANNOT_CANCEL
    await payment.handle.cancel()
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_cancelled_in_the_ui(scene: Scene) -> Payment:
    """The UI's "request cancellation", while the bank is down: like the update, once the send under way has ended."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await payment.handle.cancel()
    await scene.finish(payment, FAILED, DecisionCode.CANCELLED)
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    assert [item for item in await scene.timeline(payment) if item.startswith("step.")] == RELEASED
    return payment
