"""Every workflow, cancelled at every place where it waits: it ends as it may, or parks, and not a cent is off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from temporalio.client import WorkflowExecutionStatus

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.bank_events import BankEventType
from domain.batches import BatchMode
from domain.contracts.activities import SweepRequest
from domain.contracts.bank_events import BANK_EVENTS_WORKFLOW
from domain.contracts.batches import BatchCounts
from domain.contracts.holds import EXPIRE_HOLDS_WORKFLOW
from domain.contracts.payments import OPERATIONS_QUEUE, PaymentRequest, PaymentResult, RetryPlan
from domain.contracts.returns import WATCH_RETURNS_WORKFLOW, WatchRequest, return_workflow_id
from domain.contracts.workflows import SWEEP_WORKFLOW
from domain.holds import HoldStatus
from domain.transactions import Step, TransactionKind, TransactionStatus
from ledger.bank_events import BankEvents, NewEvent
from tests.money import holds
from tests.workflow import starting
from tests.workflow.batch_walks import Payroll
from tests.workflow.cancelling import (
    Gate,
    Handle,
    Place,
    Stop,
    by_cancellation,
    by_update,
    ended,
    gated,
    places_of,
    stop_at,
)
from tests.workflow.returning import watch
from tests.workflow.scene import OPENING, Person, Scene, until, working

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

AT_ONCE = 20
RICH = 90_000
SOON = RetryPlan(quick_retry_seconds=1, slow_retry_seconds=1, settlement_poll_seconds=0.3)
SUCCEEDED = TransactionStatus.SUCCEEDED

Trouble = tuple[FaultKind, Operation, dict[str, object]]


@dataclass(frozen=True)
class Way:
    """A payment, and what its bank does to it; all of it heals by itself."""

    kind: TransactionKind
    troubles: tuple[Trouble, ...] = ()

    @property
    def operation(self) -> Operation:
        """What the bank is told."""
        return Operation.PULL if self.kind is TransactionKind.DEPOSIT else Operation.PUSH


LATER: Trouble = (FaultKind.SETTLE_LATER, Operation.ANY, {"times": 1, "seconds": 0.5})
DEPOSIT, WITHDRAWAL, TRANSFER = TransactionKind.DEPOSIT, TransactionKind.WITHDRAWAL, TransactionKind.TRANSFER
WAYS = {
    "transfer": Way(TRANSFER),
    "deposit": Way(DEPOSIT, (LATER,)),
    "deposit_refused": Way(DEPOSIT, ((FaultKind.REFUSE, Operation.PULL, {"code": "R01"}),)),
    "withdrawal": Way(WITHDRAWAL, (LATER,)),
    "withdrawal_parks": Way(WITHDRAWAL, ((FaultKind.DOWN, Operation.PUSH, {"times": 2}),)),
    "withdrawal_unknown": Way(WITHDRAWAL, ((FaultKind.ERROR_AFTER, Operation.PUSH, {"times": 1}),)),
    "withdrawal_refused": Way(WITHDRAWAL, ((FaultKind.REFUSE, Operation.PUSH, {"code": "R01"}),)),
}
BY_UPDATE = ("deposit", "withdrawal_parks")
"""Those that are cancelled by the update, too."""
HAS = 400


class Stage:
    """A scene whose workers pass a gate, and somebody with money to give."""

    def __init__(self, scene: Scene, gate: Gate, rich: Person) -> None:
        self.scene, self.gate, self.rich = scene, gate, rich
        self._places = asyncio.Semaphore(AT_ONCE)
        self._seen = set[tuple[Place, Stop]]()

    async def everywhere(self, start: Callable[[Place | None], Awaitable[Handle]], *stops: Stop) -> list[Handle]:
        """Run it once undisturbed, then once for each place and way to be stopped there; all runs of it."""
        undisturbed = await start(None)
        await undisturbed.result()
        found = [(place, stop) for place in await places_of(self.gate, undisturbed) for stop in stops]
        # Where two ways take the same step of the ledger, it is the same place.
        fresh = [each for each in found if each not in self._seen or each[0].name not in set(Step)]
        self._seen |= set(found)
        assert fresh

        async def stopped(place: Place, stop: Stop) -> Handle:
            async with self._places:
                handle = await start(place)
                await stop_at(self.gate, place, handle, stop)
                async with asyncio.timeout(60):
                    await ended(handle)
                return handle

        tasks = [asyncio.create_task(stopped(place, stop), name=str(place)) for place, stop in fresh]
        return [undisturbed, *(await asyncio.gather(*tasks))]


@pytest.fixture(scope="module")
async def stage(idle_scene: Scene) -> AsyncIterator[Stage]:
    """See Stage. At the end not a cent may be off."""
    client, gate = gated(idle_scene.temporal)
    scene = replace(idle_scene, temporal=client)
    async with working(scene):
        yield Stage(scene, gate, await scene.person(balance=RICH))


async def _asked(stage: Stage, way: Way) -> tuple[PaymentRequest, Person]:
    """A payment of 300 that its bank has these troubles with; who asks has 400 unless it is a deposit."""
    scene = stage.scene
    person = await scene.person()
    for kind, operation, more in way.troubles:
        await scene.misbehave(person, kind, operation, **more)  # type: ignore[arg-type]
    if way.kind is DEPOSIT:
        return scene.asked(DEPOSIT, 300, destination=person, plan=SOON), person
    await scene.app.transfer(stage.rich.wallet_id, person.wallet_id, HAS)
    if way.kind is TRANSFER:
        return scene.asked(TRANSFER, 300, source=person, destination=stage.rich, plan=SOON), person
    return scene.asked(WITHDRAWAL, 300, source=person, plan=SOON), person


async def _demand_legal(stage: Stage, request: PaymentRequest, person: Person) -> None:
    """It has ended, and its money is at one end alone."""
    recorded = await stage.scene.ledger.transaction(request.transaction_id)
    assert recorded is not None
    assert recorded.status.final
    assert recorded.attention is None
    paid = 300 if recorded.status is SUCCEEDED else 0
    expected = {
        DEPOSIT: (paid, 0, OPENING - paid),
        WITHDRAWAL: (HAS - paid, 0, OPENING + paid),
        TRANSFER: (HAS - paid, 0, OPENING),
    }
    assert await stage.scene.all_of(person) == expected[request.kind]


@pytest.mark.parametrize("name", WAYS)
async def test_a_payment(stage: Stage, name: str) -> None:
    way, asked = WAYS[name], dict[str, tuple[PaymentRequest, Person]]()

    async def start(place: Place | None) -> Handle:
        request, person = await _asked(stage, way)
        asked[request.workflow_id] = request, person
        stage.gate.watch(request.workflow_id, place)
        client = stage.scene.temporal
        if way.kind is TRANSFER:
            return await starting.start_transfer(client, request)
        return await starting.start_without_waiting(client, request)

    stops = (by_cancellation, by_update) if name in BY_UPDATE else (by_cancellation,)
    runs = await stage.everywhere(start, *stops)
    for run in runs:
        result: PaymentResult = await run.result()
        assert result.status.final
        await _demand_legal(stage, *asked[run.id])


@pytest.mark.parametrize("mode", BatchMode)
async def test_a_batch_is_paid_all_the_same(stage: Stage, mode: BatchMode) -> None:
    payroll, receiver = Payroll(stage.scene), await stage.scene.app.open_wallet()

    async def start(place: Place | None) -> Handle:
        batch = await payroll.accept(stage.rich.wallet_id, [(receiver, 1)] * 3, mode)
        stage.gate.watch(batch.batch_id, place)
        return await payroll.start(batch)

    runs = await stage.everywhere(start, by_cancellation)
    assert [await run.result() for run in runs] == [BatchCounts(succeeded=3)] * len(runs)
    assert await stage.scene.app.money(receiver) == (3 * len(runs), 0)


async def test_a_return_is_booked_all_the_same(stage: Stage) -> None:
    scene, people = stage.scene, list[Person]()

    async def start(place: Place | None) -> Handle:
        people.append(await scene.person())
        deposit = await scene.deposit(people[-1], 300)
        await scene.finish(deposit, SUCCEEDED)
        made = await scene.admin.give_back(f"{deposit.transaction_id}:deposit", "R01")
        workflow_id = return_workflow_id(scene.bank.name, made.return_id)
        stage.gate.watch(workflow_id, place)
        await watch(scene)
        return scene.temporal.get_workflow_handle(workflow_id)

    for run in await stage.everywhere(start, by_cancellation):
        assert (await run.describe()).status is WorkflowExecutionStatus.COMPLETED
    for person in people:
        assert await scene.all_of(person) == (0, 0, OPENING)


Check = Callable[[], Awaitable[bool]]


async def _orphan(scene: Scene) -> Check:
    """A deposit without a workflow."""
    person = await scene.person()
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PULL, times=1, seconds=0.5)
    deposit = await scene.deposit(person, 300)
    await deposit.handle.terminate("a test")

    async def paid() -> bool:
        return await scene.all_of(person) == (300, 0, OPENING - 300)

    return paid


async def _expired_hold(scene: Scene) -> Check:
    hold = await holds.place(scene.app, (await scene.person(balance=100)).wallet_id, 30, life=-holds.HOUR)

    async def let_go() -> bool:
        return await holds.standing(scene.app, hold) == (HoldStatus.EXPIRED, 0, 0)

    return let_go


async def _unread_return(scene: Scene) -> Check:
    person = await scene.person()
    deposit = await scene.deposit(person, 300)
    await scene.finish(deposit, SUCCEEDED)
    await scene.admin.give_back(f"{deposit.transaction_id}:deposit", "R01")

    async def booked() -> bool:
        return await scene.all_of(person) == (0, 0, OPENING)

    return booked


async def _unhandled_event(scene: Scene) -> Check:
    inbox = BankEvents(scene.directory.engine, scene.directory.cipher)
    event = NewEvent(
        bank=scene.bank.name,
        event_id=uuid4().hex,
        type=BankEventType.PAYMENT_SETTLED,
        reference="nobody's",
        occurred_at=datetime.now(UTC),
        body="{}",
    )
    assert await inbox.store(event)

    async def handled() -> bool:
        return await inbox.waiting(1) == []

    return handled


OPERATIONS: dict[str, tuple[Callable[[Scene], Awaitable[Check]], object]] = {
    SWEEP_WORKFLOW: (_orphan, SweepRequest(older_than_seconds=0)),
    EXPIRE_HOLDS_WORKFLOW: (_expired_hold, None),
    WATCH_RETURNS_WORKFLOW: (_unread_return, WatchRequest(banks=["simulator"])),
    BANK_EVENTS_WORKFLOW: (_unhandled_event, None),
}
"""What a schedule runs: something for it to do, and what it is told."""


@pytest.mark.parametrize("name", OPERATIONS)
async def test_what_a_schedule_runs_is_made_good_by_its_next_run(stage: Stage, name: str) -> None:
    scene, (leave, argument) = stage.scene, OPERATIONS[name]

    async def start(place: Place | None) -> Handle:
        workflow_id = f"{name}-{uuid4().hex}"
        stage.gate.watch(workflow_id, place)
        arguments = [] if argument is None else [argument]
        return await scene.temporal.start_workflow(name, args=arguments, id=workflow_id, task_queue=OPERATIONS_QUEUE)

    undisturbed = await start(None)
    await undisturbed.result()
    done = await leave(scene)
    for place in await places_of(stage.gate, undisturbed):
        handle = await start(place)
        await stop_at(stage.gate, place, handle, by_cancellation)
        await ended(handle)
    await (await start(None)).result()
    await until("what was left is done", done)
