"""The ledger's database is killed in the middle of payments: nothing is lost, and all goes on when it is back."""

import asyncio

from temporalio.api.enums.v1 import EventType

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.transactions import TransactionStatus
from tests.replay.corpus import histories_of, replay
from tests.stack.servers import Servers
from tests.workflow.scene import OPENING, Payment, Scene, until

SUCCEEDED = TransactionStatus.SUCCEEDED
OUTAGE_SECONDS = 4.0
"""Longer than a local activity is tried for."""


def _kill(servers: Servers) -> None:
    servers.process("postgres").kill()


async def _regular_activities(payment: Payment) -> list[str]:
    history = await payment.handle.fetch_history()
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]


async def _replays(scene: Scene, payment: Payment) -> None:
    for history in await histories_of(scene.temporal, payment.handle.id):
        await replay(history)


async def test_a_step_gives_way_to_a_regular_activity_and_goes_through_when_the_ledger_is_back(
    scene: Scene, bare_servers: Servers
) -> None:
    person = await scene.person(balance=1_000)
    await scene.misbehave(person, FaultKind.SLOW, Operation.PUSH, times=1, seconds=1)
    payment = await scene.withdraw(person, 300)

    async def under_way() -> bool:
        return (await scene.admin.faults())[-1].used == 1

    await until("the bank has the request", under_way)
    _kill(bare_servers)
    try:
        await asyncio.sleep(1 + OUTAGE_SECONDS)
        assert await scene.at_bank(person) == OPENING - 700
    finally:
        bare_servers.recover()
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert "capture_withdrawal" in await _regular_activities(payment)
    await _replays(scene, payment)


async def test_a_payment_that_cannot_be_recorded_is_recorded_once_when_the_ledger_is_back(
    scene: Scene, bare_servers: Servers
) -> None:
    sender, receiver = await scene.person(balance=1_000), await scene.person()
    _kill(bare_servers)
    try:
        withdrawal = asyncio.create_task(scene.withdraw(sender, 300))
        deposit = asyncio.create_task(scene.deposit(receiver, 500))
        transfer = asyncio.create_task(scene.transfer(sender, receiver, 200))
        await asyncio.sleep(OUTAGE_SECONDS)
        assert not any(task.done() for task in (withdrawal, deposit, transfer))
    finally:
        bare_servers.recover()
    payments = await asyncio.gather(withdrawal, deposit, transfer)
    for payment in payments:
        await scene.finish(payment, SUCCEEDED)
        await _replays(scene, payment)
    assert await scene.all_of(sender) == (500, 0, OPENING - 700)
    assert await scene.all_of(receiver) == (700, 0, OPENING - 500)
    for payment, first_step in zip(payments, ("hold_withdrawal", "record_deposit", "settle_transfer"), strict=True):
        assert first_step in await _regular_activities(payment)
