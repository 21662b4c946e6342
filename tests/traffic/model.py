"""The dictionary: what every key was answered, what became of every payment, and what everybody must have then."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from domain.transactions import TransactionKind, TransactionStatus
from tests.traffic.app import Body

CURRENCY = "USD"
SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a wallet, and an account at the bank that held `opening` minor units when it was linked."""

    name: str
    user_id: str
    wallet_id: str
    bank_account_id: str
    account_at_bank: str
    opening: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A payment to ask for under `key`. `may_end` has "succeeded" or the codes of failures that are right."""

    key: str
    kind: TransactionKind
    amount: int
    sender: Person | None = None
    receiver: Person | None = None
    may_end: frozenset[str]

    @property
    def path(self) -> str:
        """Where to POST it."""
        return f"/v1/{self.kind}s"

    @property
    def body(self) -> Body:
        """What to POST."""
        money: Body = {"amount": self.amount, "currency": CURRENCY}
        if self.sender and self.receiver:
            return {"sender_id": self.sender.wallet_id, "receiver_id": self.receiver.wallet_id, **money}
        person = self.customer
        return {"wallet_id": person.wallet_id, "bank_account_id": person.bank_account_id, **money}

    @property
    def customer(self) -> Person:
        """Whose bank account a deposit or withdrawal concerns."""
        person = self.sender or self.receiver
        assert person
        return person


class FailureSeen(BaseModel):
    """Why a payment failed."""

    code: str


class PaymentSeen(BaseModel):
    """A payment as the API told of it; all but status and failure is for ever."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    transaction_id: str
    kind: TransactionKind
    status: TransactionStatus
    amount: int
    currency: str
    sender_id: str | None = None
    receiver_id: str | None = None
    wallet_id: str | None = None
    bank_account_id: str | None = None
    failure: FailureSeen | None = None
    effective_at: datetime

    @property
    def end(self) -> str | None:
        """How it ended: "succeeded" or the code of its failure; None while it is open."""
        if not self.status.final:
            return None
        return self.failure.code if self.failure else self.status.value

    def asks_for(self) -> dict[str, object]:
        """What a client sent, and what was fixed then."""
        return self.model_dump(exclude={"status", "failure"}, exclude_none=True)


@dataclass(slots=True)
class Model:
    """Everything that was asked and answered. Every contradiction fails the test at once."""

    people: list[Person] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    first: dict[str, PaymentSeen] = field(default_factory=dict)
    """Transaction id → the first answer."""
    ids: dict[str, str] = field(default_factory=dict)
    """Key → transaction id."""
    ends: dict[str, str] = field(default_factory=dict)
    """Transaction id → how it ended."""

    def answered(self, order: Order, seen: PaymentSeen) -> None:
        """The API has answered the order's key, for the first time or again."""
        assert self.orders.setdefault(order.key, order) == order
        known = self.ids.setdefault(order.key, seen.transaction_id)
        assert known == seen.transaction_id, f"{order.key} was {known} and is {seen.transaction_id} now"
        assert seen.asks_for().items() >= order.body.items(), f"asked for {order.body}, answered {seen}"
        self.looked_at(seen)

    def looked_at(self, seen: PaymentSeen) -> None:
        """The API has told of a payment."""
        first = self.first.setdefault(seen.transaction_id, seen)
        assert first.asks_for() == seen.asks_for(), f"first {first}, now {seen}"
        if seen.end is not None:
            end = self.ends.setdefault(seen.transaction_id, seen.end)
            assert end == seen.end, f"{seen.transaction_id} had ended as {end}, now as {seen.end}"
        else:
            assert seen.transaction_id not in self.ends, f"{seen.transaction_id} had ended, now it is {seen.status}"

    @property
    def open(self) -> list[str]:
        """Transactions that nobody has seen end."""
        return [transaction_id for transaction_id in self.first if transaction_id not in self.ends]

    def check_ends(self) -> None:
        """Every payment has ended, in a way that is right for it, and no two keys share one."""
        assert not self.open, f"open: {self.open}"
        assert len(set(self.ids.values())) == len(self.ids) == len(self.ends)
        wrong = {
            key: (order.kind.value, self.end_of(order))
            for key, order in self.orders.items()
            if self.end_of(order) not in order.may_end
        }
        assert not wrong, f"ended as they never should: {wrong}"

    def end_of(self, order: Order) -> str:
        """How an answered order ended."""
        return self.ends[self.ids[order.key]]

    def in_wallets(self) -> dict[str, int]:
        """Wallet id → minor units."""
        money = Counter({person.wallet_id: 0 for person in self.people})
        for order in self._paid():
            if order.sender:
                money[order.sender.wallet_id] -= order.amount
            if order.receiver:
                money[order.receiver.wallet_id] += order.amount
        return dict(money)

    def at_bank(self) -> dict[str, int]:
        """Account id at the bank → minor units."""
        money = Counter({person.account_at_bank: person.opening for person in self.people})
        for order in self._paid():
            if order.kind is TransactionKind.DEPOSIT:
                money[order.customer.account_at_bank] -= order.amount
            elif order.kind is TransactionKind.WITHDRAWAL:
                money[order.customer.account_at_bank] += order.amount
        return dict(money)

    def history(self, wallet_id: str) -> dict[str, str]:
        """What a wallet's list of transactions must say: transaction id → how it ended.

        A transfer that failed never reached its receiver, so only its sender sees it.
        """
        return {
            self.ids[order.key]: self.end_of(order)
            for order in self.orders.values()
            if self._concerns(order, wallet_id)
        }

    def _concerns(self, order: Order, wallet_id: str) -> bool:
        if order.sender and order.sender.wallet_id == wallet_id:
            return True
        told = order.sender is None or self.end_of(order) == SUCCEEDED
        return bool(order.receiver and order.receiver.wallet_id == wallet_id and told)

    def _paid(self) -> list[Order]:
        return [order for order in self.orders.values() if self.end_of(order) == SUCCEEDED]
