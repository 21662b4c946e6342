"""Paths over the bank's rails: ACH that settles later, and the other rail where the first one refuses for itself."""

from dataclasses import replace

from bank_adapters.port import BankPayment, Direction, NotSeen, PaymentState
from bank_adapters.simulator.faults import FaultKind, Operation
from domain.rails import Rail
from domain.transactions import TransactionKind, TransactionStatus
from tests.workflow.operators import sweep
from tests.workflow.paths import path
from tests.workflow.scene import OPENING, Payment, Person, Scene

SUCCEEDED, FAILED = TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
EITHER = (Rail.INSTANT, Rail.ACH)
NOT_ON_RAIL = "S04"


async def _deposit(scene: Scene, person: Person, *rails: Rail) -> Payment:
    asked = scene.asked(TransactionKind.DEPOSIT, 700, destination=person)
    return await scene.start(replace(asked, rails=rails))


async def _withdraw(scene: Scene, person: Person, *rails: Rail) -> Payment:
    asked = scene.asked(TransactionKind.WITHDRAWAL, 300, source=person)
    return await scene.start(replace(asked, rails=rails))


async def _settles_over_ach(scene: Scene, payment: Payment, reference: str) -> None:
    accepted = await scene.bank.look_up(reference)
    assert isinstance(accepted, BankPayment)
    assert (accepted.state, accepted.rail) == (PaymentState.ACCEPTED, Rail.ACH)
    await scene.admin.settle_now(reference)
    await scene.resumed(payment, SUCCEEDED)
    told = {item.detail["rail"] for item in await scene.ledger.timeline(payment.transaction_id) if item.detail}
    assert told == {Rail.ACH}


async def _refused_by_instant(scene: Scene, payment: Payment, direction: Direction) -> None:
    first = await scene.bank.look_up(f"{payment.transaction_id}:{payment.request.kind}")
    assert isinstance(first, BankPayment)
    assert (first.state, first.rail, first.direction) == (PaymentState.REFUSED, Rail.INSTANT, direction)


@path
async def rails_deposit_over_ach(scene: Scene) -> Payment:
    """Credited when the bank accepts, settled when the batch is."""
    person = await scene.person()
    payment = await _deposit(scene, person, Rail.ACH)
    await scene.eventually(payment, "step.posted credit_deposit")
    assert await scene.all_of(person) == (700, 0, OPENING)
    await _settles_over_ach(scene, payment, f"{payment.transaction_id}:deposit")
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def rails_withdrawal_over_ach(scene: Scene) -> Payment:
    person = await scene.person(balance=1_000)
    payment = await _withdraw(scene, person, Rail.ACH)
    await scene.eventually(payment, "step.posted capture_withdrawal")
    assert await scene.all_of(person) == (700, 0, OPENING - 1_000)
    await _settles_over_ach(scene, payment, f"{payment.transaction_id}:withdrawal")
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def rails_deposit_falls_back_to_ach(scene: Scene) -> Payment:
    """Both answers are lost on the way: each rail is asked again by its own reference, and one of them has paid."""
    person = await scene.person()
    await scene.misbehave(person, FaultKind.REFUSE, Operation.PULL, times=1, code=NOT_ON_RAIL)
    await scene.misbehave(person, FaultKind.ERROR_AFTER, Operation.PULL, times=2)
    payment = await _deposit(scene, person, *EITHER)
    await scene.eventually(payment, "step.posted credit_deposit")
    await _refused_by_instant(scene, payment, Direction.PULL)
    await _settles_over_ach(scene, payment, f"{payment.transaction_id}:deposit:ach")
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def rails_withdrawal_falls_back_to_ach(scene: Scene) -> Payment:
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.REFUSE, Operation.PUSH, times=1, code=NOT_ON_RAIL)
    payment = await _withdraw(scene, person, *EITHER)
    await scene.eventually(payment, "step.posted capture_withdrawal")
    await _refused_by_instant(scene, payment, Direction.PUSH)
    await _settles_over_ach(scene, payment, f"{payment.transaction_id}:withdrawal:ach")
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def rails_fallback_terminated_then_swept(scene: Scene) -> Payment:
    """The next run asks the rails in the recorded order, and finds the one that has it."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.REFUSE, Operation.PUSH, times=1, code=NOT_ON_RAIL)
    payment = await _withdraw(scene, person, *EITHER)
    await scene.eventually(payment, "step.posted capture_withdrawal")
    await payment.handle.terminate("a test")
    await sweep(scene.temporal)
    await _settles_over_ach(scene, payment, f"{payment.transaction_id}:withdrawal:ach")
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def rails_refusal_of_the_account_asks_no_other_rail(scene: Scene) -> Payment:
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.REFUSE, Operation.PUSH, times=1, code="R02")
    payment = await _withdraw(scene, person, *EITHER)
    await scene.finish(payment, FAILED, "bank_refused")
    reference = f"{payment.transaction_id}:withdrawal:ach"
    assert await scene.bank.look_up(reference) == NotSeen(reference=reference)
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    return payment


@path
async def rails_both_refuse(scene: Scene) -> Payment:
    """The money stays where it is, and the failure is the last rail's."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.REFUSE, Operation.PUSH, times=2, code=NOT_ON_RAIL)
    payment = await _withdraw(scene, person, *EITHER)
    await scene.finish(payment, FAILED, "bank_refused")
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    return payment
