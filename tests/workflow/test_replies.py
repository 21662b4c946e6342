"""Replies: a bank payment's once it is recorded, a transfer's from its first task; the same to every duplicate."""

import asyncio
from collections.abc import Sequence

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.contracts.payments import PaymentRequest
from domain.transactions import TransactionKind, TransactionStatus
from tests.money.requests import again
from tests.workflow.operators import delete
from tests.workflow.scene import OPENING, Payment, Person, Scene
from tests.workflow.starting import start_bank_payment, start_transfer

DEPOSIT, WITHDRAWAL, TRANSFER = TransactionKind.DEPOSIT, TransactionKind.WITHDRAWAL, TransactionKind.TRANSFER
SUCCEEDED, PROCESSING = TransactionStatus.SUCCEEDED, TransactionStatus.PROCESSING
CALLERS = 10


async def _people(scene: Scene) -> tuple[Person, Person]:
    return await scene.person(balance=1_000), await scene.person()


def _asked(scene: Scene, kind: TransactionKind, people: tuple[Person, Person]) -> PaymentRequest:
    """A payment of 300 that concerns the first of two people."""
    first, second = people
    if kind is DEPOSIT:
        return scene.asked(kind, 300, destination=first)
    return scene.asked(kind, 300, source=first, destination=second if kind is TRANSFER else None)


AFTERWARDS = {
    DEPOSIT: ((1_300, 0, OPENING - 1_300), (0, 0, OPENING)),
    WITHDRAWAL: ((700, 0, OPENING - 700), (0, 0, OPENING)),
    TRANSFER: ((700, 0, OPENING - 1_000), (300, 0, OPENING)),
}


async def _happened_once(scene: Scene, kind: TransactionKind, people: tuple[Person, Person], payment: Payment) -> None:
    await scene.resumed(payment, SUCCEEDED)
    assert (await scene.all_of(people[0]), await scene.all_of(people[1])) == AFTERWARDS[kind]


@pytest.mark.parametrize("kind", [DEPOSIT, WITHDRAWAL])
async def test_a_bank_payment_replies_while_the_bank_is_still_thinking(scene: Scene, kind: TransactionKind) -> None:
    people = await _people(scene)
    await scene.misbehave(people[0], FaultKind.DOWN)
    payment = await scene.start(_asked(scene, kind, people))
    assert (payment.reply.status, payment.reply.failure, payment.reply.replayed) == (PROCESSING, None, False)
    assert (await scene.transaction(payment)).status is PROCESSING
    assert (await payment.handle.describe()).status is WorkflowExecutionStatus.RUNNING
    assert await scene.all_of(people[0]) == (1_000, 300 if kind is WITHDRAWAL else 0, OPENING - 1_000)
    await scene.admin.clear_faults()
    await _happened_once(scene, kind, people, payment)


async def test_a_transfer_starts_eagerly_in_the_process_that_asked(scene: Scene) -> None:
    people = await _people(scene)
    request = _asked(scene, TRANSFER, people)
    handle = await start_transfer(scene.temporal, request)
    await handle.result()
    first = (await handle.fetch_history()).events[0]
    assert first.workflow_execution_started_event_attributes.eager_execution_accepted


async def _race(scene: Scene, requests: Sequence[PaymentRequest]) -> list[Payment]:
    return list(await asyncio.gather(*(scene.start(request) for request in requests)))


@pytest.mark.parametrize("kind", [DEPOSIT, WITHDRAWAL, TRANSFER])
async def test_callers_who_race_one_key_share_one_payment_and_one_reply(scene: Scene, kind: TransactionKind) -> None:
    people = await _people(scene)
    asked = _asked(scene, kind, people)
    replies = [payment.reply for payment in await _race(scene, [asked, *(again(asked) for _ in range(CALLERS - 1))])]
    assert len({reply.transaction_id for reply in replies}) == 1
    assert all(reply == replies[0] for reply in replies)
    await _happened_once(scene, kind, people, await scene.start(again(asked)))


@pytest.mark.parametrize("kind", [DEPOSIT, WITHDRAWAL, TRANSFER])
async def test_a_duplicate_after_the_end_gets_the_first_reply(scene: Scene, kind: TransactionKind) -> None:
    people = await _people(scene)
    payment = await scene.start(_asked(scene, kind, people))
    await scene.finish(payment, SUCCEEDED)
    assert (await scene.start(again(payment.request))).reply == payment.reply
    await _happened_once(scene, kind, people, payment)


@pytest.mark.parametrize("kind", [DEPOSIT, WITHDRAWAL, TRANSFER])
async def test_a_duplicate_after_temporal_has_forgotten_all_moves_nothing(scene: Scene, kind: TransactionKind) -> None:
    people = await _people(scene)
    payment = await scene.start(_asked(scene, kind, people))
    await scene.finish(payment, SUCCEEDED)
    await delete(scene.temporal, payment)
    duplicate = await scene.start(again(payment.request))
    assert duplicate.transaction_id == payment.transaction_id
    assert (duplicate.reply.status, duplicate.reply.replayed) == (SUCCEEDED, True)
    assert duplicate.reply.fingerprint == payment.reply.fingerprint
    await _happened_once(scene, kind, people, duplicate)


async def test_a_key_used_again_for_another_body_starts_nothing(scene: Scene) -> None:
    """While the first runs, the fingerprint in the reply tells them apart; once it is forgotten, the ledger does."""
    people = await _people(scene)
    fault = await scene.misbehave(people[0], FaultKind.DOWN, Operation.PUSH)
    payment = await scene.start(scene.asked(WITHDRAWAL, 300, source=people[0], key="the key"))
    other = scene.asked(WITHDRAWAL, 301, source=people[0], key="the key")
    assert other.idempotency is not None
    _, reply = await start_bank_payment(scene.temporal, other)
    assert reply.transaction_id == payment.transaction_id
    assert reply.fingerprint != other.idempotency.fingerprint
    await scene.admin.remove_fault(fault)
    await scene.finish(payment, SUCCEEDED)
    await delete(scene.temporal, payment)
    with pytest.raises(WorkflowUpdateFailedError):
        await start_bank_payment(scene.temporal, other)
    with pytest.raises(WorkflowFailureError) as failed:
        await scene.temporal.get_workflow_handle(payment.handle.id).result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "idempotency_key_reused"
    assert await scene.all_of(people[0]) == (700, 0, OPENING - 700)
