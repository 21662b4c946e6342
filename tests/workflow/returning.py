"""Banks that take payments back, and how that is noticed; with the walks that are recorded, by name."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from bank_adapters.port import PaymentInstruction
from domain.contracts.operators import BankOutcome
from domain.contracts.payments import OPERATIONS_QUEUE
from domain.contracts.returns import (
    WATCH_RETURNS_WORKFLOW,
    ReturnOutcome,
    Suspended,
    Unmatched,
    WatchReport,
    WatchRequest,
    bank_and_reference,
    return_workflow_id,
)
from domain.contracts.suspense import Clearance
from domain.contracts.wallets import ChangeKind
from domain.contracts.workflows import (
    CANNOT_RESOLVE,
    FORCE_UPDATE,
    RESOLVE_UPDATE,
    RETRY_UPDATE,
    OperatorCommand,
)
from domain.ids import ActionId, TransactionId
from domain.money import Money
from domain.transactions import TransactionKind, TransactionStatus
from tests.money.requests import change_wallet
from tests.money.suspense import said
from tests.money.write_offs import JOHN
from tests.workflow.operators import refusal_of
from tests.workflow.scene import PATIENCE_SECONDS, Payment, Person, Scene, until

SUCCEEDED = TransactionStatus.SUCCEEDED

Booking = WorkflowHandle[object, ReturnOutcome]


async def watch(scene: Scene, name: str | None = None) -> int:
    """Read the bank's statement now; how many returns were new."""
    report = await scene.temporal.execute_workflow(
        WATCH_RETURNS_WORKFLOW,
        WatchRequest(banks=[scene.bank.name]),
        id=name or f"watch-{uuid4().hex}",
        task_queue=OPERATIONS_QUEUE,
        result_type=WatchReport,
    )
    assert report.read_until.keys() == {scene.bank.name}
    return report.started


async def give_back(scene: Scene, payment: Payment, code: str, amount: int | None = None) -> Booking:
    """The bank takes a payment back, which is noticed: the workflow that is to book it."""
    made = await scene.admin.give_back(f"{payment.transaction_id}:{payment.request.kind}", code, amount)
    await watch(scene)
    return booking_of(scene, made.return_id)


def booking_of(scene: Scene, return_id: str) -> Booking:
    """The workflow of a return, by the bank's reference."""
    return scene.temporal.get_workflow_handle(return_workflow_id(scene.bank.name, return_id), result_type=ReturnOutcome)


async def parked(scene: Scene, booking: Booking, reason: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a return asks for a person because of that."""
    query = f"WorkflowId = '{booking.id}' AND Attention = '{reason}'"

    async def found() -> bool:
        return [item.id async for item in scene.temporal.list_workflows(query)] == [booking.id]

    await until(f"{booking.id} is parked: {reason}", found, seconds)
    assert (await booking.describe()).status is WorkflowExecutionStatus.RUNNING


async def deposited(scene: Scene, person: Person, amount: int) -> Payment:
    """A deposit that has succeeded."""
    deposit = await scene.deposit(person, amount)
    await scene.finish(deposit, SUCCEEDED)
    return deposit


async def taken_back_twice(scene: Scene, person: Person) -> Booking:
    """A deposit of 300 comes back, and once more: the second return, parked."""
    deposit = await deposited(scene, person, 300)
    await (await give_back(scene, deposit, "R01")).result()
    booking = await give_back(scene, deposit, "R02")
    await parked(scene, booking, "return_twice")
    return booking


async def back_to_a_closed_wallet(scene: Scene, amount: int) -> tuple[Person, Payment, Booking]:
    """Who withdrew all they had and closed their wallet, the withdrawal, and its return, parked."""
    person = await scene.person(balance=amount)
    payment = await scene.withdraw(person, amount)
    await scene.finish(payment, SUCCEEDED)
    await change_wallet(scene.ledger, person.wallet_id, ChangeKind.CLOSE)
    booking = await give_back(scene, payment, "R03")
    await parked(scene, booking, Unmatched.WALLET_CLOSED)
    return person, payment, booking


def by_hand(person: Person, kind: TransactionKind, amount: int) -> PaymentInstruction:
    """An order to the bank that is no payment of ours."""
    return PaymentInstruction(
        reference=f"{TransactionId.new(7)}:{kind}",
        account_token=person.customer.account_token,
        amount=Money(amount, "USD"),
    )


async def return_booked(scene: Scene) -> str:
    """A deposit comes back, is found and booked; the id of the return's workflow."""
    person = await scene.person()
    booking = await give_back(scene, await deposited(scene, person, 300), "R10")
    await booking.result()
    assert await scene.money(person) == (0, 0)
    return booking.id


async def return_parked(scene: Scene) -> str:
    """A return whose payment came back before parks, is tried again in vain, and is ended by a person."""
    person, _ = await scene.person(), await scene.person(balance=1_000)
    booking = await taken_back_twice(scene, person)
    await booking.execute_update(RETRY_UPDATE, OperatorCommand(by="tests", reason="to see what happens"))
    await booking.terminate("the bank makes it good")
    assert await scene.money(person) == (0, 0)
    return booking.id


async def resolution(
    scene: Scene, suspended: Suspended, outcome: BankOutcome = BankOutcome.CORRECTED
) -> OperatorCommand:
    """What the API tells a return, and has recorded."""
    action = await said(scene.ledger, suspended, outcome)
    return OperatorCommand(by=action.by, reason=action.reason, action_id=action.action_id, outcome=outcome)


async def suspended_as(scene: Scene, booking: Booking) -> Suspended:
    """Where a parked return is booked."""
    named = bank_and_reference(booking.id)
    assert named is not None
    item = await scene.ledger.find_suspense(*named)
    assert item is not None
    return Suspended(item_id=item.item_id, since=item.since, cleared_as=item.cleared_as)


async def put_right(scene: Scene, booking: Booking, amount: int) -> ReturnOutcome:
    """The bank gives the money back, and an operator says so."""
    await scene.bank.pull(by_hand(await scene.person(), TransactionKind.DEPOSIT, amount))
    command = await resolution(scene, await suspended_as(scene, booking))
    await booking.execute_update(RESOLVE_UPDATE, command)
    return await booking.result()


async def return_corrected(scene: Scene) -> str:
    """A return whose payment came back before is on a suspense account, until the bank puts it right."""
    person = await scene.person()
    booking = await taken_back_twice(scene, person)
    outcome = await put_right(scene, booking, 300)
    assert outcome.suspended is not None
    assert outcome.suspended.cleared_as is Clearance.CORRECTED
    assert await scene.money(person) == (0, 0)
    return booking.id


async def return_written_off(scene: Scene) -> str:
    """A return that its bank will never put right: two people agree to bear it, one alone is not heard."""
    person = await scene.person()
    booking = await taken_back_twice(scene, person)
    command = await resolution(scene, await suspended_as(scene, booking), BankOutcome.WRITTEN_OFF)
    assert await refusal_of(booking.execute_update(FORCE_UPDATE, command)) == CANNOT_RESOLVE
    await scene.ledger.approve_action(ActionId(command.action_id), JOHN, "seen the letter")
    assert await refusal_of(booking.execute_update(RESOLVE_UPDATE, command)) == CANNOT_RESOLVE
    await booking.execute_update(FORCE_UPDATE, command)
    outcome = await booking.result()
    assert outcome.suspended is not None
    assert outcome.suspended.cleared_as is Clearance.WRITTEN_OFF
    assert await scene.money(person) == (0, 0)
    return booking.id


async def return_to_a_closed_wallet(scene: Scene) -> str:
    """A withdrawal comes back to a wallet that is closed for ever: the bank pays its owner in another way."""
    person, payment, booking = await back_to_a_closed_wallet(scene, 500)
    await scene.bank.push(by_hand(await scene.person(), TransactionKind.WITHDRAWAL, 500))
    await booking.execute_update(RESOLVE_UPDATE, await resolution(scene, await suspended_as(scene, booking)))
    outcome = await booking.result()
    assert outcome.suspended is not None
    assert (outcome.unmatched, outcome.suspended.cleared_as) == (Unmatched.WALLET_CLOSED, Clearance.CORRECTED)
    assert await scene.money(person) == (0, 0)
    assert (await scene.transaction(payment)).status is SUCCEEDED
    return booking.id


async def return_watched(scene: Scene) -> str:
    """The statement is read, and what it says is started; the id of the reading."""
    deposit = await deposited(scene, await scene.person(), 200)
    made = await scene.admin.give_back(f"{deposit.transaction_id}:{deposit.request.kind}", "R09")
    name = f"watch-{uuid4().hex}"
    await watch(scene, name)
    await booking_of(scene, made.return_id).result()
    return name


RETURN_WALKS: Final[dict[str, Callable[[Scene], Awaitable[str]]]] = {
    walk.__name__: walk
    for walk in (
        return_booked,
        return_parked,
        return_corrected,
        return_written_off,
        return_to_a_closed_wallet,
        return_watched,
    )
}
"""Recorded for the corpus: `python -m tests.replay.record VERSION-returns return_`."""
