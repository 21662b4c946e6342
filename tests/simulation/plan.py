"""What happens in a simulation: a pure function of its seed. Days are banking days of the bank's own calendar."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.calendar import BANKING_ZONE, add_banking_days
from domain.rails import Rail
from domain.transactions import TransactionKind

BUSINESS_DAYS: Final = 20
AFTERWARDS: Final = (1, 2, 4, 10, 30, 58, 63, 70)
"""Calendar days after the last business day on which somebody looks again, until no return can come in time."""
PEOPLE: Final = 20
_FIRST_YEAR, _YEARS = 2030, 20
_DAY_SECONDS: Final = 86_400.0
_BAD_DAYS: Final = 0.5
"""On how many the bank misbehaves towards single people; the others are over sooner."""
_DEPOSIT, _WITHDRAWAL, _TRANSFER = TransactionKind.DEPOSIT, TransactionKind.WITHDRAWAL, TransactionKind.TRANSFER


class Hour(StrEnum):
    """When in a day something happens, by the bank's clock. ACH's cut-off is at 16:45."""

    MORNING = "09:00"
    NOON = "12:30"
    EVENING = "17:30"

    def on(self, day: date) -> datetime:
        """That hour in New York."""
        return datetime.combine(day, time.fromisoformat(self.value), BANKING_ZONE)


class Manner(StrEnum):
    """How a payment comes back: as networks allow, or as no bank should."""

    IN_TIME = "in time"
    LATE = "late"
    TWICE = "twice"
    WRONG_AMOUNT = "wrong amount"


class Remedy(StrEnum):
    """What people do where the bank says nothing: one with evidence, or two who agree, say what its books say."""

    RESOLVE = "resolve"
    FORCE = "force"


class Outage(StrEnum):
    """How the whole bank is away: for a day, or killed (-9) with the payments of noon on their way."""

    DOWN = "it answers 503 to everything"
    DEAD = "it is killed at noon, and started again"


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """A fault of the bank towards one person's account, `times` times or (None) until the evening."""

    kind: FaultKind
    operation: Operation
    times: int | None = 1
    code: str | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.kind} at {self.operation}" + (f" with {self.code}" if self.code else "")


@dataclass(frozen=True, slots=True)
class Comeback:
    """A return of the payment, so many days (banking days for a quick code) after it settled, or later."""

    code: str
    manner: Manner
    after_days: int


@dataclass(frozen=True, slots=True)
class PlannedPayment:
    """`source` and `destination` are numbers of people. A patient one that parks waits for a person's `retry`."""

    name: str
    kind: TransactionKind
    amount: int
    source: int | None
    destination: int | None
    rails: tuple[Rail, ...] = ()
    patient: bool = True
    faults: tuple[Misbehaviour, ...] = ()
    remedy: Remedy | None = None
    comeback: Comeback | None = None

    @property
    def person(self) -> int:
        """Whose bank account or wallet it begins at."""
        person = self.source if self.source is not None else self.destination
        assert person is not None
        return person

    def __str__(self) -> str:
        way = {
            _DEPOSIT: f"to {self.destination}",
            _WITHDRAWAL: f"from {self.source}",
            _TRANSFER: f"from {self.source} to {self.destination}",
        }
        rails = f" over {', then '.join(self.rails)}" if self.rails else ""
        faults = f"; the bank: {', '.join(map(str, self.faults))}" if self.faults else ""
        return f"{self.name} {self.kind} of {self.amount} {way[self.kind]}{rails}{faults}"


@dataclass(frozen=True, slots=True)
class Day:
    """A banking day. The worker is killed (-9) while the payments of `killed_at` are on their way."""

    date: date
    payments: tuple[tuple[Hour, tuple[PlannedPayment, ...]], ...] = ()
    outage: Outage | None = None
    killed_at: Hour | None = None
    invented: int | None = None
    """The amount of a return of a payment that nobody made."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a simulation."""

    seed: int
    days: tuple[Day, ...]

    @property
    def payments(self) -> Iterator[PlannedPayment]:
        """All of them, in their order."""
        for day in self.days:
            for _, payments in day.payments:
                yield from payments


def plan_of(seed: int) -> Plan:
    """The plan of a seed: the same on every machine."""
    return _Author(random.Random(seed)).plan(seed)


class _Author:
    """Draws a plan."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def plan(self, seed: int) -> Plan:
        chance = self._chance
        first = date(_FIRST_YEAR, 1, 1) + timedelta(days=chance.randrange(365 * _YEARS))
        dates = [add_banking_days(first, nth) for nth in range(BUSINESS_DAYS)]
        outages = dict(zip(chance.sample(range(2, BUSINESS_DAYS), len(Outage)), Outage, strict=True))
        kills = dict.fromkeys(chance.sample(range(1, BUSINESS_DAYS), 2))
        quiet = [number for number in range(1, BUSINESS_DAYS) if number not in outages]
        remedies = dict(zip(chance.sample(quiet, 3), (Remedy.RESOLVE, Remedy.RESOLVE, Remedy.FORCE), strict=True))
        bad = {number for number in quiet if number in remedies or chance.random() < _BAD_DAYS}
        invented = chance.randrange(3, BUSINESS_DAYS)
        days = [
            Day(
                date=when,
                payments=tuple(self._payments(number, remedies.get(number), bad=number in bad)),
                outage=outages.get(number),
                killed_at=chance.choice((Hour.MORNING, Hour.NOON)) if number in kills else None,
                invented=chance.randint(100, 5_000) if number == invented else None,
            )
            for number, when in enumerate(dates)
        ]
        afterwards = {add_banking_days(dates[-1] + timedelta(days=later), 0) for later in AFTERWARDS}
        days += [Day(date=when) for when in sorted(afterwards)]
        return Plan(seed, tuple(days))

    def _payments(
        self, day: int, remedy: Remedy | None, *, bad: bool
    ) -> Iterator[tuple[Hour, tuple[PlannedPayment, ...]]]:
        for hour in Hour:
            yield hour, tuple(self._of(day, hour, remedy if hour is Hour.NOON else None, bad=bad))

    def _of(self, day: int, hour: Hour, remedy: Remedy | None, *, bad: bool) -> Iterator[PlannedPayment]:
        """A person has one payment with the bank in an hour, so that a fault meets the payment it was drawn for."""
        chance = self._chance
        name = f"{day + 1:02d}{hour.name[0].lower()}"
        if day == 0 and hour is Hour.MORNING:
            for person in range(PEOPLE):
                amount = chance.randint(2_000, 20_000)
                yield PlannedPayment(f"{name}{person}", _DEPOSIT, amount, None, person, (Rail.INSTANT,))
            return
        at_bank, transfers = {
            Hour.MORNING: (chance.randint(4, 6), chance.randint(0, 2)),
            Hour.NOON: (chance.randint(2, 4), chance.randint(3, 5)),
            Hour.EVENING: (chance.randint(0, 2), chance.randint(0, 1)),
        }[hour]
        for nth, person in enumerate(chance.sample(range(PEOPLE), at_bank)):
            yield self._with_bank(f"{name}{nth}", hour, person, remedy if nth == 0 else None, bad=bad)
        for nth in range(transfers):
            sender, receiver = chance.sample(range(PEOPLE), 2)
            # Now and then all that somebody may have, so that a deposit that comes back finds nothing.
            amount = chance.choice((chance.randint(100, 4_000), chance.randint(4_000, 15_000)))
            yield PlannedPayment(f"{name}t{nth}", _TRANSFER, amount, sender, receiver)

    def _with_bank(self, name: str, hour: Hour, person: int, remedy: Remedy | None, *, bad: bool) -> PlannedPayment:
        chance = self._chance
        deposits = chance.random() < (0.8 if hour is Hour.MORNING else 0.4)
        rails = chance.choice(((Rail.INSTANT,), (Rail.ACH,), (Rail.ACH,), (Rail.INSTANT, Rail.ACH)))
        sends = Operation.PULL if deposits else Operation.PUSH
        faults = self._silence(sends) if remedy else self._faults(sends, rails) if bad else ()
        return PlannedPayment(
            name=name,
            kind=_DEPOSIT if deposits else _WITHDRAWAL,
            amount=chance.randint(200, 9_000) if deposits else chance.randint(100, 4_000),
            source=None if deposits else person,
            destination=person if deposits else None,
            rails=rails,
            patient=bool(remedy) or chance.random() < 0.5,
            faults=faults,
            remedy=remedy,
            comeback=self._comeback(deposits),
        )

    def _silence(self, sends: Operation) -> tuple[Misbehaviour, ...]:
        """The bank does it, or nothing at all, and says nothing of it."""
        if self._chance.random() < 0.6:
            lost = Misbehaviour(FaultKind.TIMEOUT_AFTER, sends)
            return lost, Misbehaviour(FaultKind.DOWN, Operation.LOOK_UP, times=None)
        return (Misbehaviour(FaultKind.DOWN, Operation.ANY, times=None),)

    def _faults(self, sends: Operation, rails: Sequence[Rail]) -> tuple[Misbehaviour, ...]:
        chance = self._chance
        later = _DAY_SECONDS if rails == (Rail.ACH,) else 3_600.0
        falls_back = len(rails) > 1 and chance.random() < 0.5
        rail_only = (Misbehaviour(FaultKind.REFUSE, sends, code="S04"),) if falls_back else ()
        if chance.random() > 0.6:
            return rail_only
        drawn = chance.choice(
            (
                Misbehaviour(FaultKind.SLOW, sends),
                Misbehaviour(FaultKind.DOWN, sends, times=chance.randint(1, 2)),
                Misbehaviour(FaultKind.TIMEOUT_BEFORE, sends),
                Misbehaviour(FaultKind.REFUSE, sends, code=chance.choice(("R01", "R01", "R02", "S04"))),
                Misbehaviour(FaultKind.SETTLE_LATER, sends, seconds=later),
                Misbehaviour(FaultKind.DUPLICATE, sends),
                Misbehaviour(FaultKind.TIMEOUT_AFTER, sends),
                Misbehaviour(FaultKind.ERROR_AFTER, sends),
                Misbehaviour(FaultKind.WRONG_ORDER, sends),
                Misbehaviour(FaultKind.DOWN, Operation.LOOK_UP),
                Misbehaviour(FaultKind.ERROR_AFTER, Operation.LOOK_UP),
                Misbehaviour(FaultKind.WEBHOOK_LOST, Operation.WEBHOOK),
                Misbehaviour(FaultKind.WEBHOOK_TWICE, Operation.WEBHOOK),
                Misbehaviour(FaultKind.WEBHOOK_LATE, Operation.WEBHOOK, seconds=chance.choice((1.0, _DAY_SECONDS))),
            )
        )
        return *rail_only, drawn

    def _comeback(self, deposits: bool) -> Comeback | None:
        chance = self._chance
        if chance.random() > (0.3 if deposits else 0.15):
            return None
        manner = chance.choices(list(Manner), weights=(12, 1, 1, 1))[0]
        if not deposits:
            return Comeback(chance.choice(("R03", "R23", "R23")), manner, chance.randint(0, 1))
        if chance.random() < 0.65:
            return Comeback(chance.choice(("R01", "R01", "R09", "R02", "R08")), manner, chance.randint(0, 2))
        code = chance.choice(("R10", "R11", "R11", "R07", "R05", "R99"))
        return Comeback(code, manner, chance.choice((1, 3, 8, 20, 45, 55)))
