"""Paths on which the bank is slow, silent, down, or wrong: paid exactly once, and both books agree."""

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.transactions import TransactionStatus
from tests.workflow.paths import path
from tests.workflow.scene import OPENING, PERSISTENT, Payment, Scene, until

SUCCEEDED, PROCESSING = TransactionStatus.SUCCEEDED, TransactionStatus.PROCESSING
PAID = ["step.posted hold_withdrawal", "step.posted capture_withdrawal", "step.posted settle_withdrawal"]


async def _withdrawn_once_despite(scene: Scene, kind: FaultKind) -> Payment:
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, kind, Operation.PUSH, times=1)
    payment = await scene.withdraw(person, 300)
    assert payment.reply.status is PROCESSING
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert await scene.timeline(payment) == PAID
    return payment


async def _deposited_once_despite(scene: Scene, kind: FaultKind) -> Payment:
    person = await scene.person()
    await scene.misbehave(person, kind, Operation.PULL, times=1)
    payment = await scene.deposit(person, 700)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_unknown_then_found(scene: Scene) -> Payment:
    """The bank pays and does not answer; it is asked by reference, not told again."""
    return await _withdrawn_once_despite(scene, FaultKind.TIMEOUT_AFTER)


@path
async def withdrawal_failed_answer_then_found(scene: Scene) -> Payment:
    """The bank pays and answers 500."""
    return await _withdrawn_once_despite(scene, FaultKind.ERROR_AFTER)


@path
async def withdrawal_time_out_before(scene: Scene) -> Payment:
    """The bank does not answer and has done nothing; the second request is the first it gets."""
    return await _withdrawn_once_despite(scene, FaultKind.TIMEOUT_BEFORE)


@path
async def deposit_unknown_then_found(scene: Scene) -> Payment:
    return await _deposited_once_despite(scene, FaultKind.TIMEOUT_AFTER)


@path
async def deposit_failed_answer_then_found(scene: Scene) -> Payment:
    return await _deposited_once_despite(scene, FaultKind.ERROR_AFTER)


@path
async def deposit_time_out_before(scene: Scene) -> Payment:
    return await _deposited_once_despite(scene, FaultKind.TIMEOUT_BEFORE)


@path
async def withdrawal_bank_down_then_back(scene: Scene) -> Payment:
    """It stays processing with its money held, parks, and completes by itself."""
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    assert await scene.all_of(person) == (1_000, 300, OPENING - 1_000)
    assert (await scene.transaction(payment)).status is PROCESSING
    await scene.admin.remove_fault(fault)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert [item for item in await scene.timeline(payment) if item.startswith("step.")] == PAID
    return payment


@path
async def deposit_bank_down_then_back(scene: Scene) -> Payment:
    person = await scene.person()
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PULL)
    payment = await scene.deposit(person, 700, PERSISTENT)
    await scene.parked(payment, "bank_unavailable")
    assert await scene.all_of(person) == (0, 0, OPENING)
    await scene.admin.remove_fault(fault)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_paid_twice_by_the_bank(scene: Scene) -> Payment:
    """Our books have it once; the bank has it twice until it notices."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.DUPLICATE, Operation.PUSH, times=1)
    payment = await scene.withdraw(person, 300)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 1_000 + 2 * 300)
    assert await scene.admin.correct(f"{payment.transaction_id}:withdrawal") == 1
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def deposit_taken_twice_by_the_bank(scene: Scene) -> Payment:
    person = await scene.person()
    await scene.misbehave(person, FaultKind.DUPLICATE, Operation.PULL, times=1)
    payment = await scene.deposit(person, 700)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 2 * 700)
    assert await scene.admin.correct(f"{payment.transaction_id}:deposit") == 1
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def withdrawal_settled_before_accepted(scene: Scene) -> Payment:
    """The bank tells things in the wrong order: first that it has settled, when it has only accepted."""
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PUSH, times=1, seconds=1)
    await scene.misbehave(person, FaultKind.WRONG_ORDER, Operation.PUSH, times=1)
    payment = await scene.withdraw(person, 300)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.money(person) == (700, 0)

    async def settled() -> bool:
        return await scene.at_bank(person) == OPENING - 700

    await until("the bank has settled, too", settled)
    assert await scene.timeline(payment) == PAID
    return payment


@path
async def deposit_accepted_after_settled(scene: Scene) -> Payment:
    """The bank says accepted of what it has settled already; the next look-up says so."""
    person = await scene.person()
    await scene.misbehave(person, FaultKind.WRONG_ORDER, Operation.PULL, times=1)
    payment = await scene.deposit(person, 700)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment
