"""Returns: found on the bank's statement, booked once by a workflow each, parked where they cannot be ours."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities import returns as return_activities
from bank_adapters.simulator.client import BankRefused
from bank_adapters.simulator.faults import FaultKind, Operation
from domain.bank_accounts import BankAccountStatus
from domain.clock import SettableClock, SystemClock
from domain.contracts.payments import RetryPlan, ReturnNotice
from domain.contracts.returns import FindReturns, ReturnOutcome, ReturnRequest, Unmatched
from domain.contracts.suspense import Clearance, Clearing
from domain.contracts.workflows import CANNOT_RESOLVE, RESOLVE_UPDATE, RETRY_UPDATE, OperatorCommand
from domain.ids import ActionId
from domain.money import Money
from domain.rails import Rail
from domain.returns import CALENDAR_DAYS
from domain.transactions import TransactionKind, TransactionStatus
from infra.schedules import ensure_schedules
from ledger.local import LocalLedger
from tests.money.requests import Client as App
from tests.workflow.operators import refusal_of
from tests.workflow.returning import (
    booking_of,
    by_hand,
    deposited,
    give_back,
    parked,
    put_right,
    resolution,
    suspended_as,
    taken_back_twice,
    watch,
)
from tests.workflow.scene import OPENING, Person, Scene, until

SUCCEEDED, RETURNED = TransactionStatus.SUCCEEDED, TransactionStatus.RETURNED


async def _status(scene: Scene, person: Person) -> BankAccountStatus:
    account = await scene.directory.bank_account(person.bank_account_id)
    assert account is not None
    return account.status


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("R01", BankAccountStatus.ACTIVE),
        ("R02", BankAccountStatus.RELINK_REQUIRED),
        ("R10", BankAccountStatus.DEBITS_STOPPED),
    ],
)
async def test_a_deposit_that_comes_back_is_taken_back(scene: Scene, code: str, status: BankAccountStatus) -> None:
    person = await scene.person()
    deposit = await deposited(scene, person, 700)
    booking = await give_back(scene, deposit, code)
    assert await booking.result() == ReturnOutcome(transaction_id=deposit.transaction_id)
    assert (await scene.transaction(deposit)).status is RETURNED
    assert await scene.all_of(person) == (0, 0, OPENING)
    assert await _status(scene, person) is status
    assert (await scene.timeline(deposit))[-1] == "step.posted return_deposit"


async def test_a_withdrawal_that_comes_back_is_in_the_wallet_again(scene: Scene) -> None:
    person = await scene.person(balance=1_000)
    withdrawal = await scene.withdraw(person, 400)
    await scene.finish(withdrawal, SUCCEEDED)
    booking = await give_back(scene, withdrawal, "R23")
    assert await booking.result() == ReturnOutcome(transaction_id=withdrawal.transaction_id)
    assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)
    assert await _status(scene, person) is BankAccountStatus.ACTIVE


async def test_what_went_over_its_second_rail_comes_back_like_any_other(scene: Scene) -> None:
    person = await scene.person()
    await scene.misbehave(person, FaultKind.REFUSE, Operation.PULL, times=1, code="S04")
    asked = scene.asked(TransactionKind.DEPOSIT, 700, destination=person)
    deposit = await scene.start(replace(asked, rails=(Rail.INSTANT, Rail.ACH)))
    await scene.eventually(deposit, "step.posted credit_deposit")
    reference = f"{deposit.transaction_id}:deposit:ach"
    await scene.admin.settle_now(reference)
    await scene.finish(deposit, SUCCEEDED)
    made = await scene.admin.give_back(reference, "R10")
    await watch(scene)
    assert await booking_of(scene, made.return_id).result() == ReturnOutcome(transaction_id=deposit.transaction_id)
    assert await scene.all_of(person) == (0, 0, OPENING)


async def test_a_return_that_is_met_again_is_booked_once(scene: Scene) -> None:
    person = await scene.person()
    deposit = await deposited(scene, person, 300)
    booking = await give_back(scene, deposit, "R01")
    await booking.result()
    assert await watch(scene) == 0
    assert await scene.all_of(person) == (0, 0, OPENING)


async def test_what_came_back_before_it_was_settled_here_is_booked_when_it_is(scene: Scene) -> None:
    person = await scene.person()
    await scene.misbehave(person, FaultKind.SETTLE_LATER, Operation.PULL, times=1, seconds=0.5)
    slow = RetryPlan(quick_retry_seconds=30, slow_retry_seconds=30, settlement_poll_seconds=4)
    deposit = await scene.deposit(person, 300, slow)
    made = []

    async def came_back() -> bool:
        try:
            made.append(await scene.admin.give_back(f"{deposit.transaction_id}:deposit", "R01"))
        except BankRefused:
            return False
        return True

    await until("the bank has settled it and takes it back", came_back)
    await watch(scene)
    await scene.temporal.get_workflow_handle(deposit.handle.id).result()
    await booking_of(scene, made[0].return_id).result()
    assert (await scene.transaction(deposit)).status is RETURNED
    assert await scene.all_of(person) == (0, 0, OPENING)


async def test_what_cannot_be_ours_parks_in_suspense_until_it_is_put_right_or_matched(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await scene.person(balance=5_000)
    wrong = await give_back(scene, await deposited(scene, person, 300), "R01", 299)
    await parked(scene, wrong, "return_wrong_amount")

    deposit = await deposited(scene, person, 200)
    await (await give_back(scene, deposit, "R01")).result()
    twice = await give_back(scene, deposit, "R10")
    await parked(scene, twice, "return_twice")

    order = by_hand(person, TransactionKind.DEPOSIT, 150)
    await scene.bank.pull(order)
    made = await scene.admin.give_back(order.reference, "R01")
    await watch(scene)
    unknown = booking_of(scene, made.return_id)
    await parked(scene, unknown, "return_unknown")

    def never(code: str, settled_at: datetime, returned_at: datetime) -> bool:
        assert abs(returned_at - settled_at) < timedelta(minutes=5)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(return_activities, "may_still_return", never)
        late = await give_back(scene, await deposited(scene, person, 100), "R10")
        await parked(scene, late, "return_late")
    assert await scene.money(person) == (5_400, 0)
    # Somebody looks, and the bank was right after all.
    await late.execute_update(RETRY_UPDATE, OperatorCommand(by="tests", reason="the window was read wrongly"))
    await late.result()
    assert await scene.money(person) == (5_300, 0)
    assert (await suspended_as(scene, late)).cleared_as is Clearance.MATCHED
    for booking, amount in ((wrong, 299), (twice, 200)):
        outcome = await put_right(scene, booking, amount)
        assert outcome.suspended is not None
        assert outcome.suspended.cleared_as is Clearance.CORRECTED
    # The bank's own mistake has come and gone on its statement: nothing is to be given back.
    await unknown.execute_update(RESOLVE_UPDATE, await resolution(scene, await suspended_as(scene, unknown)))
    assert (await unknown.result()).unmatched is Unmatched.UNKNOWN
    assert await scene.money(person) == (5_300, 0)
    sums = {finding.name: finding for finding in await scene.verify()}
    assert [name for name, finding in sums.items() if not finding.ok] == []


async def test_only_what_the_api_has_recorded_takes_a_return_off_the_suspense_account(scene: Scene) -> None:
    booking = await taken_back_twice(scene, await scene.person())
    item = await suspended_as(scene, booking)
    recorded = await resolution(scene, item)
    wrong = {
        "no action": OperatorCommand(by="anyone", reason="I say so", outcome="corrected"),
        "one that nobody recorded": replace(recorded, action_id=ActionId.new(item.item_id.bucket)),
        "another outcome": replace(recorded, outcome="paid"),
    }
    for command in wrong.values():
        assert await refusal_of(booking.execute_update(RESOLVE_UPDATE, command)) == CANNOT_RESOLVE
    assert (await suspended_as(scene, booking)).cleared_as is None
    outcome = await put_right(scene, booking, 300)
    assert outcome.suspended == replace(item, cleared_as=Clearance.CORRECTED)
    # Read again by a run that has forgotten it, it stays put right.
    take = ActivityEnvironment().run
    activities = return_activities.ReturnActivities({}, scene.directory, scene.ledger, SystemClock())
    started = (await booking.fetch_history()).events[0].workflow_execution_started_event_attributes
    (request,) = await scene.temporal.data_converter.decode(started.input.payloads, [ReturnRequest])
    assert await take(activities.take_return, request) == outcome


async def test_a_statement_is_read_to_its_end_and_on_from_the_business_time(scene: Scene) -> None:
    """The bank's clock may be ahead of ours."""
    deposit = await deposited(scene, await scene.person(), 400)
    made = await scene.admin.give_back(f"{deposit.transaction_id}:deposit", "R01")
    clock = SettableClock(made.returned_at - timedelta(minutes=1))
    activities = return_activities.ReturnActivities({scene.bank.name: scene.bank}, scene.directory, scene.ledger, clock)
    command = FindReturns(bank=scene.bank.name, since=made.returned_at)
    read = await ActivityEnvironment().run(activities.find_returns, command)
    assert made.return_id in {request.notice.reference for request in read.returns}
    assert read.until == clock.now()
    await watch(scene)
    await booking_of(scene, made.return_id).result()


async def test_a_return_is_late_by_business_time(scene: Scene) -> None:
    """Recorded two months ahead of the machine: by the machine's time the return would be late."""
    ahead = datetime.now(UTC) + timedelta(days=CALENDAR_DAYS + 30)
    ledger = LocalLedger(scene.settings, SettableClock(ahead))
    try:
        app = App(ledger, scene.app.client_id, scene.bank.name)
        deposit = await app.deposit(await app.open_wallet(), 400)
        activities = return_activities.ReturnActivities({}, scene.directory, ledger, SettableClock(ahead))
        request = ReturnRequest(
            bank=scene.bank.name,
            reference=f"{deposit.transaction_id}:deposit",
            amount=Money(400, "USD"),
            returned_at=ahead + timedelta(days=CALENDAR_DAYS + 30),
            notice=ReturnNotice(reference="ret_test", code="R10", detail="not authorised"),
        )
        take = ActivityEnvironment().run
        assert (await take(activities.take_return, request)).unmatched is Unmatched.LATE
        in_time = replace(request, returned_at=ahead + timedelta(days=1))
        # We may hear of a settlement later than it was, or earlier: the bank's own word counts.
        long_ago = replace(in_time, settled_at=ahead - timedelta(days=CALENDAR_DAYS + 30))
        assert (await take(activities.take_return, long_ago)).unmatched is Unmatched.LATE
        assert await take(activities.take_return, in_time) == ReturnOutcome(transaction_id=deposit.transaction_id)
    finally:
        await ledger.aclose()


async def test_a_return_that_moves_money_the_wrong_way_is_not_booked_as_one(scene: Scene) -> None:
    """A bank that gives us a deposit again instead of taking it."""
    deposit = await deposited(scene, await scene.person(), 400)
    request = ReturnRequest(
        bank=scene.bank.name,
        reference=f"{deposit.transaction_id}:deposit",
        amount=Money(400, "USD"),
        returned_at=datetime.now(UTC),
        notice=ReturnNotice(reference=f"ret_{deposit.transaction_id}", code="R10"),
        moved=400,
    )
    activities = return_activities.ReturnActivities({}, scene.directory, scene.ledger, SystemClock())
    outcome = await ActivityEnvironment().run(activities.take_return, request)
    assert outcome.unmatched is Unmatched.WRONG_AMOUNT
    assert "the wrong way" in outcome.detail
    assert outcome.suspended is not None
    assert (await scene.transaction(deposit)).status is SUCCEEDED
    # Nothing of it is on the simulated bank's statement: the books follow it again.
    told = Clearing(item_id=outcome.suspended.item_id, outcome=Clearance.CORRECTED, by="tests", reason="a test")
    await scene.ledger.clear_suspense(told)


async def test_the_schedule_reads_on_from_where_it_stopped(scene: Scene) -> None:
    person = await scene.person()
    deposit = await deposited(scene, person, 250)
    often = scene.settings.model_copy(update={"returns_interval_seconds": 1})
    await ensure_schedules(scene.temporal, often, [scene.bank.name])
    try:
        made = await scene.admin.give_back(f"{deposit.transaction_id}:deposit", "R01")

        async def booked() -> bool:
            return (await scene.transaction(deposit)).status is RETURNED

        await until("the schedule has found it", booked)
        await booking_of(scene, made.return_id).result()
        handle = scene.temporal.get_schedule_handle("watch-returns")

        async def twice() -> bool:
            return len((await handle.describe()).info.recent_actions) > 1

        await until("it has run again", twice)
    finally:
        for name in ("watch-returns", "sweep-orphans", "expire-holds"):
            await scene.temporal.get_schedule_handle(name).delete()


async def test_more_returns_than_one_reading_takes_are_all_found(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(return_activities, "MOST_RETURNS", 2)
    person = await scene.person()
    made = []
    for _ in range(4):
        deposit = await deposited(scene, person, 50)
        made.append(await scene.admin.give_back(f"{deposit.transaction_id}:deposit", "R01"))
    activities = return_activities.ReturnActivities(
        {scene.bank.name: scene.bank}, scene.directory, scene.ledger, SystemClock()
    )
    found: set[str] = set()
    since = made[0].returned_at + return_activities.OVERLAP
    for _ in made:
        command = FindReturns(bank=scene.bank.name, since=since)
        read = await ActivityEnvironment().run(activities.find_returns, command)
        assert len(read.returns) <= 2
        found |= {request.notice.reference for request in read.returns}
        since = read.until
    assert found >= {back.return_id for back in made}
    monkeypatch.undo()
    await watch(scene)
    for back in made:
        await booking_of(scene, back.return_id).result()
    assert await scene.all_of(person) == (0, 0, OPENING)
