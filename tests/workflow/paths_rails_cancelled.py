"""Paths on which somebody says stop and the bank has it, but has moved nothing yet: it is taken back there."""

from dataclasses import replace

from temporalio.api.enums.v1 import EventType

from bank_adapters.port import BankPayment, PaymentState
from bank_adapters.simulator.faults import FaultKind, Operation
from domain.errors import DecisionCode
from domain.rails import Rail
from domain.transactions import TransactionKind, TransactionStatus
from tests.workflow.operators import cancel, sweep
from tests.workflow.paths import path
from tests.workflow.scene import OPENING, PERSISTENT, Payment, Person, Scene, until

SUCCEEDED, FAILED = TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
AMOUNT = 300


async def _cancelled_unheard(scene: Scene, person: Person, kind: TransactionKind) -> tuple[Payment, int]:
    """Accepted over ACH, the answer lost, the bank silent since: parked, and cancelled. The silence is a fault."""
    sends = Operation.PULL if kind is TransactionKind.DEPOSIT else Operation.PUSH
    await scene.misbehave(person, FaultKind.ERROR_AFTER, sends, times=1)
    silent = await scene.misbehave(person, FaultKind.DOWN, Operation.LOOK_UP)
    end = {"destination": person} if kind is TransactionKind.DEPOSIT else {"source": person}
    asked = scene.asked(kind, AMOUNT, plan=PERSISTENT, **end)
    payment = await scene.start(replace(asked, rails=(Rail.ACH,)))
    await scene.parked(payment, "bank_unavailable")
    await cancel(payment)
    return payment, silent


async def _state_at_bank(scene: Scene, payment: Payment) -> PaymentState:
    known = await scene.bank.look_up(f"{payment.transaction_id}:{payment.request.kind}")
    assert isinstance(known, BankPayment)
    return known.state


@path
async def taken_back_withdrawal(scene: Scene) -> Payment:
    """The first cancellation at the bank is done and its answer lost: asked again it says the same."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.ERROR_AFTER, Operation.CANCEL, times=1)
    payment, silent = await _cancelled_unheard(scene, person, TransactionKind.WITHDRAWAL)
    await scene.admin.remove_fault(silent)
    await scene.finish(payment, FAILED, DecisionCode.CANCELLED)
    assert await _state_at_bank(scene, payment) is PaymentState.CANCELLED
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    return payment


@path
async def taken_back_deposit(scene: Scene) -> Payment:
    person = await scene.person()
    payment, silent = await _cancelled_unheard(scene, person, TransactionKind.DEPOSIT)
    await scene.admin.remove_fault(silent)
    await scene.finish(payment, FAILED, DecisionCode.CANCELLED)
    assert await _state_at_bank(scene, payment) is PaymentState.CANCELLED
    assert await scene.all_of(person) == (0, 0, OPENING)
    return payment


@path
async def taken_back_is_not_what_is_booked(scene: Scene) -> Payment:
    """The first run has captured it; the next one hears of the cancellation before it knows."""
    person = await scene.person(balance=1_000)
    asked = scene.asked(TransactionKind.WITHDRAWAL, AMOUNT, source=person, plan=PERSISTENT)
    payment = await scene.start(replace(asked, rails=(Rail.ACH,)))
    await scene.eventually(payment, "step.posted capture_withdrawal")
    await payment.handle.terminate("a test")
    silent = await scene.misbehave(person, FaultKind.DOWN, Operation.LOOK_UP)
    await sweep(scene.temporal)

    async def asked_in_vain() -> bool:
        return await scene.struck(silent) > 0

    await until("the next run has asked", asked_in_vain)
    newest = scene.temporal.get_workflow_handle(payment.handle.id)
    await newest.cancel()
    await scene.admin.remove_fault(silent)

    async def waiting_for_settlement() -> bool:
        history = await newest.fetch_history()
        return any(event.event_type == EventType.EVENT_TYPE_TIMER_STARTED for event in history.events)

    await until("the next run has gone on", waiting_for_settlement)
    assert await _state_at_bank(scene, payment) is PaymentState.ACCEPTED
    await scene.admin.settle_now(f"{payment.transaction_id}:withdrawal")
    await scene.resumed(payment, SUCCEEDED)
    assert await scene.all_of(person) == (1_000 - AMOUNT, 0, OPENING - 1_000 + AMOUNT)
    return payment


@path
async def taken_back_too_late(scene: Scene) -> Payment:
    """The batch goes while the bank is asked to cancel: the payment goes on to its end, as the bank says."""
    person = await scene.person(balance=1_000)
    closed = await scene.misbehave(person, FaultKind.DOWN, Operation.CANCEL)
    payment, silent = await _cancelled_unheard(scene, person, TransactionKind.WITHDRAWAL)
    await scene.admin.remove_fault(silent)
    await scene.eventually(payment, "attention.raised cancel_at_bank")
    await scene.admin.settle_now(f"{payment.transaction_id}:withdrawal")
    await scene.admin.remove_fault(closed)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (1_000 - AMOUNT, 0, OPENING - 1_000 + AMOUNT)
    return payment
