"""Plays a plan, day by day, and checks everything each evening."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from temporalio.client import ScheduleOverlapPolicy

from bank_adapters.port import PaymentState
from bank_adapters.simulator.faults import FaultKind
from bank_adapters.simulator.records import Direction
from domain.calendar import banking_date
from domain.contracts.payments import RetryPlan
from domain.contracts.returns import WATCH_RETURNS_SCHEDULE, Unmatched
from domain.ids import TransactionId
from domain.transactions import TransactionKind, TransactionStatus
from infra.clock import business_clock, set_clock
from tests.simulation.books import BankPayment, OurPayment, bank_books
from tests.simulation.checks import Made, State, may_stay_parked, state_of, unfinished, wrong_with
from tests.simulation.expectations import PARKS, WAITING_FOR_THE_BANK, is_due
from tests.simulation.journal import Journal
from tests.simulation.operators import parked_returns, retried, ruled_by_books, running_payments
from tests.simulation.plan import PEOPLE, Comeback, Day, Hour, Manner, Outage, Plan, PlannedPayment, plan_of
from tests.workflow.scene import Person, Scene
from tests.workflow.worker_process import WorkerProcess

PATIENCE_SECONDS: Final = 90.0
_DEAD_SECONDS: Final = 4.0
_LOOKS_EVERY_SECONDS: Final = 0.1
_AT_ONCE: Final = 16
_PATIENT: Final = RetryPlan(quick_retry_seconds=5, slow_retry_seconds=3_600, settlement_poll_seconds=0.3)
_IMPATIENT: Final = replace(_PATIENT, slow_retry_seconds=2)


@dataclass(frozen=True, slots=True)
class Result:
    """What a simulation was: counts of what happened, by name."""

    seed: int
    days: int
    payments: int
    counts: Mapping[str, int]


async def play(seed: int, scene: Scene, worker: WorkerProcess, journal: Journal, tell: Callable[[str], None]) -> Result:
    """A whole simulation. Raises AssertionError where something does not hold; the journal has the day."""
    plan = plan_of(seed)
    simulation = Simulation(scene, worker, journal)
    await simulation.begin(plan)
    for number, day in enumerate(plan.days, start=1):
        journal.begin(f"day {number} of {len(plan.days)}, {day.date:%a %Y-%m-%d}")
        tell(journal.day)
        await simulation.live(day)
    await simulation.end()
    counts = dict(sorted(journal.counts.items()))
    return Result(seed, len(plan.days), len(simulation.made), counts)


class Simulation:
    """The state of one: who there is, what was paid, and which returns have to park."""

    def __init__(self, scene: Scene, worker: WorkerProcess, journal: Journal) -> None:
        self.made: dict[TransactionId, Made] = {}
        self._scene = scene
        self._worker = worker
        self._journal = journal
        self._people: list[Person] = []
        self._parks: dict[str, Unmatched | None] = {}
        self._came_back: set[TransactionId] = set()

    async def begin(self, plan: Plan) -> None:
        """People open wallets and link bank accounts on the morning of the first day."""
        self._journal.begin("before the first day")
        await self._set_clocks(Hour.MORNING.on(plan.days[0].date) - timedelta(hours=1))
        self._people = await asyncio.gather(*(self._scene.person() for _ in range(PEOPLE)))

    async def live(self, day: Day) -> None:
        """One day, and its evening, when everything is checked."""
        await self._set_clocks(Hour.MORNING.on(day.date))
        if day.outage is not None:
            self._journal.say(f"the bank is away: {day.outage}", f"bank away: {day.outage}")
        if day.outage is Outage.DOWN:
            await self._scene.admin.set_fault(FaultKind.DOWN)
        for hour, payments in day.payments:
            await self._set_clocks(hour.on(day.date))
            await self._pay(day, hour, payments)
            await self._rule(payments)
        await self._until("all payments have ended, wait for their batch, or are parked", self._not_moving)
        await self._clear_faults()
        await self._until("nobody moves and nobody is parked", self._at_rest, every_seconds=0.5)
        await self._correct()
        await self._let_come_back(day)
        _demand(await wrong_with(self._scene, await self._state()))

    async def end(self) -> None:
        """Nothing is stuck, and nothing is between two places."""
        self._journal.begin("the end")
        await self._until("nothing is left to happen", self._over, every_seconds=1)
        await self._until("every payment's workflow has ended", self._ended, every_seconds=1)

    async def _over(self) -> str | None:
        state = await self._state()
        await self._retry_parked(state)
        return _first(iter(await unfinished(self._scene, state)))

    async def _ended(self) -> str | None:
        """One that was ended as not paid on a person's word asks its bank now and then whether that is so: ask now."""
        running = await running_payments(self._scene)
        for made in [made for made in self.made.values() if made.payment.handle.id in running]:
            if made.planned.remedy is not None:
                await retried(made)
            return f"{made.planned} ({made.transaction_id}) still runs"
        return None

    async def _set_clocks(self, at: datetime) -> None:
        """Ours first: what the bank does at its time is then never in our future."""
        assert self._scene.settings.business_clock_file is not None
        set_clock(self._scene.settings.business_clock_file, at)
        await self._scene.admin.set_clock(at)

    # -- the day -----------------------------------------------------------------------------------

    async def _pay(self, day: Day, hour: Hour, payments: Sequence[PlannedPayment]) -> None:
        for planned in payments:
            for fault in planned.faults:
                await self._scene.misbehave(
                    self._people[planned.person],
                    fault.kind,
                    fault.operation,
                    times=fault.times,
                    code=fault.code,
                    seconds=fault.seconds,
                )
        places, first = asyncio.Semaphore(_AT_ONCE), asyncio.Event()

        async def make(planned: PlannedPayment) -> None:
            async with places:
                await self._make(hour, planned)
                first.set()

        making = asyncio.gather(*map(make, payments))
        if payments:
            await first.wait()
            await self._kill(day, hour)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await making

    async def _kill(self, day: Day, hour: Hour) -> None:
        """Whoever is to die while the payments of this hour are on their way."""
        if day.killed_at is hour:
            self._worker.kill()
            self._journal.say(f"{hour} the worker is killed", "worker killed")
            await self._worker.start()
        if day.outage is Outage.DEAD and hour is Hour.NOON:
            self._scene.process.kill()
            await asyncio.sleep(_DEAD_SECONDS)
            self._scene.process.restart()
            self._journal.say(f"{hour} the bank is started again")

    async def _make(self, hour: Hour, planned: PlannedPayment) -> None:
        people = self._people
        source = None if planned.source is None else people[planned.source]
        destination = None if planned.destination is None else people[planned.destination]
        plan = _PATIENT if planned.patient else _IMPATIENT
        asked = self._scene.asked(planned.kind, planned.amount, source=source, destination=destination, plan=plan)
        now = business_clock(self._scene.settings).now()
        payment = await self._scene.start(replace(asked, rails=planned.rails, effective_at=now))
        self.made[payment.transaction_id] = Made(planned, payment)
        self._journal.say(
            f"{hour} {planned} is {payment.transaction_id}: {payment.reply.status}", f"payments: {planned.kind}"
        )

    async def _rule(self, payments: Sequence[PlannedPayment]) -> None:
        """Where the bank is silent, people look into its books and say what is there."""
        names = {planned.name for planned in payments if planned.remedy is not None}
        for made in [made for made in self.made.values() if made.planned.name in names]:
            said = await ruled_by_books(self._scene, made)
            if said is not None:
                self._journal.say(f"people say that {made.planned.name} is {said}", f"people: {made.planned.remedy}")

    # -- the evening -------------------------------------------------------------------------------

    async def _clear_faults(self) -> None:
        for fault in await self._scene.admin.faults():
            self._journal.counts[f"faults: {fault.kind}"] += fault.used
        await self._scene.admin.clear_faults()

    async def _correct(self) -> None:
        for reference in (await bank_books(self._scene)).uncorrected:
            await self._scene.admin.correct(reference)

    async def _let_come_back(self, day: Day) -> None:
        state = await self._state()
        for made in list(self.made.values()):
            comeback, paid = made.planned.comeback, state.bank.paid(made.transaction_id)
            if comeback is None or paid is None or paid.state is not PaymentState.SETTLED:
                continue
            assert paid.settled_at is not None, "it has settled"
            succeeded = state.ours[made.transaction_id].status == TransactionStatus.SUCCEEDED
            if succeeded and is_due(comeback, banking_date(paid.settled_at), day.date):
                await self._give_back(made, paid.reference, comeback)
        if day.invented is not None:
            reference = f"{TransactionId.new(0)}:{TransactionKind.DEPOSIT}"
            admin = self._scene.admin
            back = await admin.give_back(reference, "R01", day.invented, invented=Direction.PULL)
            self._note_return(back.return_id, f"{reference}, which nobody has made", Unmatched.UNKNOWN)
        await self._read_statement()
        await self._until("all returns are booked or parked as expected", self._returns_done)

    async def _read_statement(self) -> None:
        """Have the schedule read on now, from where it stopped."""
        schedule = self._scene.temporal.get_schedule_handle(WATCH_RETURNS_SCHEDULE)
        await schedule.trigger(overlap=ScheduleOverlapPolicy.BUFFER_ONE)

    async def _give_back(self, made: Made, reference: str, comeback: Comeback) -> None:
        admin, code = self._scene.admin, comeback.code
        if comeback.manner is Manner.TWICE:
            first = await admin.give_back(reference, code)
            self._note_return(first.return_id, f"{made.planned.name} with {code}", None)
            await self._read_statement()
            await self._until("the first of two returns is booked", self._returns_done)
        amount = made.planned.amount - 1 if comeback.manner is Manner.WRONG_AMOUNT else None
        back = await admin.give_back(reference, code, amount)
        told = f"{made.planned.name} with {code}, {comeback.manner}"
        self._note_return(back.return_id, told, PARKS.get(comeback.manner))

    def _note_return(self, return_id: str, what: str, parks: Unmatched | None) -> None:
        self._parks[return_id] = parks
        expected = f"parks as {parks}" if parks else "is booked"
        self._journal.say(f"back comes {what}: {return_id} {expected}", f"returns: {parks or 'booked'}")

    # -- what is awaited ---------------------------------------------------------------------------

    async def _state(self) -> State:
        return await state_of(self._scene, self._people, self.made, self._parks)

    async def _not_moving(self) -> str | None:
        state = await self._state()
        return _first(
            f"{self.made[payment.transaction_id].planned} is {payment}, the bank has {state.bank.paid(name)}"
            for name, payment in state.ours.items()
            if _moves(payment, state.bank.paid(name))
        )

    async def _at_rest(self) -> str | None:
        """Patient payments that are parked are told to try again."""
        state = await self._state()
        await self._retry_parked(state)
        parked = [
            payment
            for name, payment in state.ours.items()
            if payment.reason and not may_stay_parked(self.made[name].planned, payment)
        ]
        return f"{parked[0]} is parked" if parked else await self._not_moving()

    async def _retry_parked(self, state: State) -> None:
        for name, payment in state.ours.items():
            made = self.made[name]
            if payment.reason is None:
                continue
            assert payment.reason in WAITING_FOR_THE_BANK, f"{made.planned} is parked: {payment}"
            if made.planned.patient and await retried(made):
                self._journal.say(f"people retry {made.planned.name} ({payment.reason})", "people: retry")

    async def _returns_done(self) -> str | None:
        state = await self._state()
        for back in state.bank.returns:
            payment = state.ours.get(TransactionId(back.reference.partition(":")[0]))
            if self._parks[back.return_id] is None and (payment is None or payment.status != "returned"):
                return f"{back} is not booked: {payment}"
        expected = {name: parks.value for name, parks in self._parks.items() if parks is not None}
        parked = await parked_returns(self._scene)
        return None if parked == expected else f"parked are {parked}, expected are {expected}"

    async def _until(
        self, what: str, check: Callable[[], Awaitable[str | None]], *, every_seconds: float = _LOOKS_EVERY_SECONDS
    ) -> None:
        """Wait until the check has nothing to say. Raises AssertionError with what it says at last."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while (missing := await check()) is not None:
            assert loop.time() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}; {missing}"
            await asyncio.sleep(every_seconds)


def _moves(payment: OurPayment, at_bank: BankPayment | None) -> bool:
    """Whether a payment is neither over, nor parked, nor waiting for its batch."""
    if TransactionStatus(payment.status).final or payment.reason is not None:
        return False
    return not (payment.accepted and at_bank is not None and at_bank.state is PaymentState.ACCEPTED)


def _first(found: Iterator[str]) -> str | None:
    return next(found, None)


def _demand(wrong: Sequence[str]) -> None:
    assert not wrong, "\n".join(wrong)
