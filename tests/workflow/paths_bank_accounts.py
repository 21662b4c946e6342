"""Paths of payments that hear of their bank, or whose bank account was stopped on the way."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.bank_events import BankEventType
from domain.contracts.payments import RetryPlan
from domain.errors import DecisionCode
from domain.transactions import TransactionStatus
from infra.bank_events import handle_bank_events
from ledger.bank_events import BankEvents, NewEvent
from tests.workflow.paths import path
from tests.workflow.scene import OPENING, Payment, Scene, until

SUCCEEDED, FAILED = TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
SETTLES_AFTER_SECONDS = 2

SELDOM = RetryPlan(quick_retry_seconds=30, slow_retry_seconds=30, settlement_poll_seconds=3600)
"""Hears of its bank, or waits for an hour."""


async def tell(scene: Scene, payment: Payment) -> None:
    """The bank sends an event about the payment, which is stored and acted on."""
    inbox = BankEvents(scene.directory.engine, scene.directory.cipher)
    event = NewEvent(
        bank=scene.bank.name,
        event_id=uuid4().hex,
        type=BankEventType.PAYMENT_SETTLED,
        reference=f"{payment.transaction_id}:{payment.request.kind}",
        occurred_at=datetime.now(UTC),
        body="{}",
    )
    assert await inbox.store(event)
    await handle_bank_events(scene.temporal)


@path
async def bank_event_wakes_a_deposit(scene: Scene) -> Payment:
    person = await scene.person()
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PULL, times=1, seconds=SETTLES_AFTER_SECONDS)
    payment = await scene.deposit(person, 500, SELDOM)
    await scene.eventually(payment, "step.posted credit_deposit")
    # Too early, then as it should be, then once more: an event only makes it ask.
    await tell(scene, payment)
    await asyncio.sleep(SETTLES_AFTER_SECONDS)
    await tell(scene, payment)
    await scene.finish(payment, SUCCEEDED)
    await tell(scene, payment)
    assert await scene.all_of(person) == (500, 0, OPENING - 500)
    return payment


@path
async def bank_account_stopped_before_it_was_asked(scene: Scene) -> Payment:
    person = await scene.person()
    await scene.directory.stop_debits(person.bank_account_id, "test", "R10")
    payment = await scene.deposit(person, 500)
    await scene.finish(payment, FAILED, DecisionCode.BANK_ACCOUNT_INACTIVE)
    assert await scene.all_of(person) == (0, 0, OPENING)
    return payment


@path
async def bank_account_stopped_before_it_was_asked_again(scene: Scene) -> Payment:
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 400)

    async def turned_away() -> bool:
        return await scene.struck(fault) > 0

    await until("the bank has turned it away", turned_away)
    await scene.directory.require_relink(person.bank_account_id, "test", "R02")
    assert (await scene.money(person)) == (1_000, 400)
    await scene.finish(payment, FAILED, DecisionCode.BANK_ACCOUNT_INACTIVE)
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    return payment
