"""What people ask for, drawn from one seed: payments of all kinds, some without funds, some at a bad-tempered bank."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from domain.errors import DecisionCode
from domain.transactions import TransactionKind
from tests.traffic.model import SUCCEEDED, Order, Person

FUNDS = 50_000
"""Minor units that everybody deposits first."""
LARGEST = 9_000
HOPELESS = 10**9
"""More than all wallets together ever hold."""

PAID = frozenset({SUCCEEDED})
WITHOUT_FUNDS = frozenset({DecisionCode.INSUFFICIENT_FUNDS.value})
REFUSED = frozenset({DecisionCode.BANK_REFUSED.value})


class Temper(StrEnum):
    """How the bank treats a person's account."""

    GOOD = "good"
    REFUSES = "refuses"
    SAYS_NOTHING = "pays and says nothing"
    SETTLES_LATER = "settles later"


TEMPERS = (Temper.GOOD, Temper.GOOD, Temper.GOOD, Temper.SAYS_NOTHING, Temper.SETTLES_LATER, Temper.REFUSES)


class Repeat(StrEnum):
    """How often an order is sent."""

    ONCE = "once"
    AT_ONCE = "three times at once"
    LATER = "again after the answer"


@dataclass(frozen=True, slots=True)
class Sending:
    """An order and how often it is sent."""

    order: Order
    repeat: Repeat


# One hand of this deck has everything; it is dealt again and again.
DECK = (
    *(TransactionKind.TRANSFER,) * 6,
    *(TransactionKind.DEPOSIT,) * 3,
    *(TransactionKind.WITHDRAWAL,) * 4,
)
REPEATS = (Repeat.ONCE, Repeat.ONCE, Repeat.ONCE, Repeat.AT_ONCE, Repeat.LATER)


class Mix:
    """Draws orders. The same seed, people and number of draws give the same orders under the same keys."""

    def __init__(self, seed: int, people: Sequence[Person], tempers: Sequence[Temper] = TEMPERS) -> None:
        self._seed = seed
        self._chance = random.Random(seed)
        self._people = people
        self._temper = dict(zip(people, tempers, strict=True))
        self._drawn = 0

    def know(self, person: Person, temper: Temper) -> None:
        """Somebody else whose orders are made here; nobody draws them."""
        self._temper[person] = temper

    def draw(self, payments: int) -> list[Sending]:
        """So many payments, well mixed."""
        kinds = [DECK[number % len(DECK)] for number in range(payments)]
        self._chance.shuffle(kinds)
        return [
            Sending(self._order(kind, hopeless=number % 8 == 7), self._chance.choice(REPEATS))
            for number, kind in enumerate(kinds)
        ]

    def deposit(self, person: Person, amount: int) -> Order:
        """A deposit of this person."""
        may_end = REFUSED if self._temper[person] is Temper.REFUSES else PAID
        return Order(key=self._key(), kind=TransactionKind.DEPOSIT, amount=amount, receiver=person, may_end=may_end)

    def withdrawal(self, person: Person, amount: int) -> Order:
        """A withdrawal of this person."""
        certain = REFUSED if self._temper[person] is Temper.REFUSES else PAID
        return Order(
            key=self._key(),
            kind=TransactionKind.WITHDRAWAL,
            amount=amount,
            sender=person,
            may_end=WITHOUT_FUNDS if amount >= HOPELESS else certain | WITHOUT_FUNDS,
        )

    def transfer(self, sender: Person, receiver: Person, amount: int) -> Order:
        """A transfer between these people."""
        return Order(
            key=self._key(),
            kind=TransactionKind.TRANSFER,
            amount=amount,
            sender=sender,
            receiver=receiver,
            may_end=WITHOUT_FUNDS if amount >= HOPELESS else PAID | WITHOUT_FUNDS,
        )

    def _order(self, kind: TransactionKind, *, hopeless: bool) -> Order:
        person, other = self._chance.sample(self._people, 2)
        amount = self._chance.randint(1, LARGEST)
        if kind is TransactionKind.DEPOSIT:
            return self.deposit(person, amount)
        amount = HOPELESS if hopeless else amount
        return (
            self.withdrawal(person, amount)
            if kind is TransactionKind.WITHDRAWAL
            else self.transfer(person, other, amount)
        )

    def _key(self) -> str:
        self._drawn += 1
        return f"mix-{self._seed}-{self._drawn}"
