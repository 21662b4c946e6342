"""Paths without trouble at the bank: paid at once, settled later, or decided against by the ledger."""

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.contracts.wallets import ChangeKind
from domain.errors import DecisionCode
from domain.transactions import TransactionStatus
from tests.money.holds import capture_request, place
from tests.money.requests import change_wallet
from tests.workflow.paths import path
from tests.workflow.scene import OPENING, Payment, Scene

SUCCEEDED, FAILED, PROCESSING = TransactionStatus.SUCCEEDED, TransactionStatus.FAILED, TransactionStatus.PROCESSING


@path
async def transfer_paid(scene: Scene) -> Payment:
    sender, receiver = await scene.person(balance=1_000), await scene.person()
    payment = await scene.transfer(sender, receiver, 400)
    await scene.finish(payment, SUCCEEDED)
    assert (await scene.money(sender), await scene.money(receiver)) == ((600, 0), (400, 0))
    assert await scene.timeline(payment) == ["step.posted settle_transfer"]
    return payment


@path
async def transfer_insufficient_funds(scene: Scene) -> Payment:
    sender, receiver = await scene.person(balance=1_000), await scene.person()
    payment = await scene.transfer(sender, receiver, 1_001)
    await scene.finish(payment, FAILED, DecisionCode.INSUFFICIENT_FUNDS)
    assert (await scene.money(sender), await scene.money(receiver)) == ((1_000, 0), (0, 0))
    assert await scene.timeline(payment) == ["step.refused settle_transfer"]
    return payment


@path
async def transfer_from_a_hold(scene: Scene) -> Payment:
    sender, receiver = await scene.person(balance=1_000), await scene.person()
    hold = await place(scene.app, sender.wallet_id, 500)
    payment = await scene.start(capture_request(scene.app, hold, receiver.wallet_id, 400, rest=True))
    await scene.finish(payment, SUCCEEDED)
    assert (await scene.money(sender), await scene.money(receiver)) == ((600, 0), (400, 0))
    assert await scene.timeline(payment) == ["step.posted capture_hold"]
    return payment


@path
async def transfer_from_a_released_hold(scene: Scene) -> Payment:
    sender, receiver = await scene.person(balance=1_000), await scene.person()
    hold = await place(scene.app, sender.wallet_id, 500)
    await scene.ledger.release_hold(hold.hold_id)
    payment = await scene.start(capture_request(scene.app, hold, receiver.wallet_id, 400))
    await scene.finish(payment, FAILED, DecisionCode.HOLD_ENDED)
    assert (await scene.money(sender), await scene.money(receiver)) == ((1_000, 0), (0, 0))
    return payment


@path
async def transfer_to_a_frozen_wallet(scene: Scene) -> Payment:
    sender, receiver = await scene.person(balance=1_000), await scene.person()
    await change_wallet(scene.ledger, receiver.wallet_id, ChangeKind.FREEZE)
    payment = await scene.transfer(sender, receiver, 400)
    await scene.finish(payment, FAILED, DecisionCode.WALLET_FROZEN)
    assert (await scene.money(sender), await scene.money(receiver)) == ((1_000, 0), (0, 0))
    return payment


@path
async def deposit_paid(scene: Scene) -> Payment:
    person = await scene.person()
    payment = await scene.deposit(person, 700)
    assert (payment.reply.status, payment.reply.replayed) == (PROCESSING, False)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert await scene.timeline(payment) == [
        "step.posted record_deposit",
        "step.posted credit_deposit",
        "step.posted settle_deposit",
    ]
    return payment


@path
async def deposit_settled_later(scene: Scene) -> Payment:
    person = await scene.person()
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PULL, times=1, seconds=1)
    payment = await scene.deposit(person, 700)
    await scene.eventually(payment, "step.posted credit_deposit")
    assert await scene.money(person) == (700, 0)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def deposit_refused(scene: Scene) -> Payment:
    person = await scene.person(balance=50)
    payment = await scene.deposit(person, OPENING)
    result = await scene.finish(payment, FAILED, DecisionCode.BANK_REFUSED)
    assert result.failure is not None
    assert "R01" in result.failure.detail
    assert await scene.all_of(person) == (50, 0, OPENING - 50)
    assert await scene.timeline(payment) == ["step.posted record_deposit", "step.posted fail_deposit"]
    return payment


@path
async def deposit_to_a_frozen_wallet(scene: Scene) -> Payment:
    person = await scene.person()
    await change_wallet(scene.ledger, person.wallet_id, ChangeKind.FREEZE)
    payment = await scene.deposit(person, 700)
    assert payment.reply.failure is not None
    assert (payment.reply.status, payment.reply.failure.code) == (FAILED, DecisionCode.WALLET_FROZEN)
    await scene.finish(payment, FAILED, DecisionCode.WALLET_FROZEN)
    assert await scene.all_of(person) == (0, 0, OPENING)
    return payment


@path
async def withdrawal_paid(scene: Scene) -> Payment:
    person = await scene.person(balance=1_000)
    payment = await scene.withdraw(person, 300)
    assert (payment.reply.status, payment.reply.replayed) == (PROCESSING, False)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert await scene.timeline(payment) == [
        "step.posted hold_withdrawal",
        "step.posted capture_withdrawal",
        "step.posted settle_withdrawal",
    ]
    return payment


@path
async def withdrawal_settled_later(scene: Scene) -> Payment:
    """A wallet that is frozen in the meantime starts nothing new; what was accepted goes to its end."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PUSH, times=1, seconds=1)
    payment = await scene.withdraw(person, 300)
    await scene.eventually(payment, "step.posted capture_withdrawal")
    await change_wallet(scene.ledger, person.wallet_id, ChangeKind.FREEZE)
    assert await scene.money(person) == (700, 0)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_refused(scene: Scene) -> Payment:
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.REFUSE, Operation.PUSH, code="R02")
    payment = await scene.withdraw(person, 300)
    assert payment.reply.status is PROCESSING
    result = await scene.finish(payment, FAILED, DecisionCode.BANK_REFUSED)
    assert result.failure is not None
    assert "R02" in result.failure.detail
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    assert await scene.timeline(payment) == ["step.posted hold_withdrawal", "step.posted release_withdrawal"]
    return payment


@path
async def withdrawal_insufficient_funds(scene: Scene) -> Payment:
    """What another withdrawal holds cannot be withdrawn again."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.SLOW, Operation.PUSH, times=1, seconds=0.5)
    first = await scene.withdraw(person, 600)
    payment = await scene.withdraw(person, 600)
    assert payment.reply.failure is not None
    assert (payment.reply.status, payment.reply.failure.code) == (FAILED, DecisionCode.INSUFFICIENT_FUNDS)
    await scene.finish(payment, FAILED, DecisionCode.INSUFFICIENT_FUNDS)
    await scene.finish(first, SUCCEEDED)
    assert await scene.all_of(person) == (400, 0, OPENING - 400)
    return payment


@path
async def withdrawal_from_a_frozen_wallet(scene: Scene) -> Payment:
    person = await scene.person(balance=1_000)
    await change_wallet(scene.ledger, person.wallet_id, ChangeKind.FREEZE)
    payment = await scene.withdraw(person, 300)
    await scene.finish(payment, FAILED, DecisionCode.WALLET_FROZEN)
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    return payment
