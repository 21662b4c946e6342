"""Paths on which a payment needs a person: what they are shown, and what their commands do."""

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.contracts.workflows import CANNOT_RETRY
from domain.transactions import TransactionStatus
from tests.workflow.operators import COMMAND, current_details, refusal_of, retry
from tests.workflow.paths import path
from tests.workflow.scene import IMPATIENT, OPENING, PERSISTENT, Payment, Scene, until

SUCCEEDED = TransactionStatus.SUCCEEDED


async def _parked_then_retried(scene: Scene, payment: Payment, fault: int, step: str) -> None:
    await scene.parked(payment, "bank_unavailable")
    attention = (await scene.transaction(payment)).attention
    assert attention is not None
    assert (attention.step, attention.reason) == (step, "bank_unavailable")
    since = attention.since.strftime("%Y-%m-%dT%H:%M:%SZ")
    await scene.findable(payment, "Attention = 'bank_unavailable'")
    await scene.findable(payment, f"AttentionStep = '{step}' AND AttentionSince >= '{since}'")
    details = await current_details(payment)
    assert "**parked**" in details
    assert f"`{step}`" in details
    await scene.admin.remove_fault(fault)
    assert await retry(payment) == "trying again"
    await scene.finish(payment, SUCCEEDED)
    await scene.findable(payment, "Attention IS NULL AND TransactionStatus = 'succeeded'")
    assert "parked" not in await current_details(payment)
    raised_and_cleared = [item for item in await scene.timeline(payment) if item.startswith("attention.")]
    assert await scene.told(payment) == [("retry", COMMAND.by, COMMAND.reason)]
    assert raised_and_cleared == [f"attention.raised {step}", "attention.cleared"]


@path
async def withdrawal_parked_then_retried(scene: Scene) -> Payment:
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, IMPATIENT)
    assert await refusal_of(retry(payment)) == CANNOT_RETRY
    await _parked_then_retried(scene, payment, fault, "push_to_bank")
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def deposit_parked_then_retried(scene: Scene) -> Payment:
    person = await scene.person()
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PULL)
    payment = await scene.deposit(person, 700, IMPATIENT)
    await _parked_then_retried(scene, payment, fault, "pull_from_bank")
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_retried_in_vain(scene: Scene) -> Payment:
    """A retry while the bank is still down leaves it parked, with the attention it had."""
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, IMPATIENT)
    await scene.parked(payment, "bank_unavailable")
    since = (await scene.transaction(payment)).attention
    struck = await scene.struck(fault)
    await retry(payment)

    async def tried() -> bool:
        return await scene.struck(fault) > struck

    await until("the bank was asked again", tried)
    assert await scene.all_of(person) == (1_000, 300, OPENING - 1_000)
    assert (await scene.transaction(payment)).attention == since
    await scene.admin.remove_fault(fault)
    await retry(payment)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_settlement_parked_then_back(scene: Scene) -> Payment:
    """Parked after the bank accepted: the bank goes silent before it says settled, and comes back by itself."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PUSH, times=1, seconds=0.5)
    silent = await scene.misbehave(person, FaultKind.DOWN, Operation.LOOK_UP)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    assert await scene.money(person) == (700, 0)
    await scene.admin.remove_fault(silent)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    await scene.findable(payment, "Attention IS NULL AND TransactionStatus = 'succeeded'")
    return payment
