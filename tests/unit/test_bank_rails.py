"""The simulated bank's ACH: batches by the Federal Reserve's calendar, cancellation, returns."""

from datetime import datetime
from pathlib import Path

import pytest

from bank_adapters.simulator import books, links, payments, returns, statement
from bank_adapters.simulator.books import MovementKind
from bank_adapters.simulator.database import Session, connect, to_micros, to_moment
from bank_adapters.simulator.problems import CannotReturn, PaymentNotSeen
from bank_adapters.simulator.rails import Rail, batch_for
from bank_adapters.simulator.records import Direction, Order, State, find
from bank_adapters.simulator.returns import ReturnOrder
from bank_adapters.simulator.settlement import advance
from domain.calendar import BANKING_ZONE


def at(text: str) -> int:
    """A time in New York, in the books' microseconds."""
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=BANKING_ZONE))


@pytest.mark.parametrize(
    ("comes", "batch", "settles"),
    [
        ("2026-03-02T16:44:59", "ach-2026-03-02", "2026-03-03T08:30"),  # a Monday, a second before it closes
        ("2026-03-02T16:45:00", "ach-2026-03-03", "2026-03-04T08:30"),
        ("2026-03-06T17:00:00", "ach-2026-03-09", "2026-03-10T08:30"),  # a Friday evening; clocks change on Sunday
        ("2026-03-07T09:00:00", "ach-2026-03-09", "2026-03-10T08:30"),
        ("2026-11-25T12:00:00", "ach-2026-11-25", "2026-11-27T08:30"),  # Thanksgiving lies between
    ],
)
def test_a_payment_goes_with_the_next_batch_and_settles_a_banking_day_later(
    comes: str, batch: str, settles: str
) -> None:
    made = batch_for(at(comes))
    assert (made.name, to_moment(made.settles_at)) == (batch, to_moment(at(settles)))
    assert made.closes_at > at(comes)


class Bank:
    """The books with one customer, on a Monday at noon."""

    def __init__(self, path: Path) -> None:
        self.session = Session(connect(path), at("2026-03-02T12:00"))
        account = books.open_customer(self.session, "Ada", 1_000, "USD")
        self.account_id = account.account_id
        link_token, _ = links.begin(self.session, "usr_1")
        self.token = links.exchange(self.session, links.approve(self.session, link_token, account)).account_token

    def wait_until(self, when: str) -> None:
        """Let it be that time."""
        self.session = Session(self.session.connection, at(when))
        advance(self.session)

    def pay(self, direction: Direction = Direction.PULL, rail: Rail = Rail.ACH, amount: int = 400) -> str:
        """A payment; its reference."""
        order = Order(
            reference=f"txn_{direction}_{rail}_{amount}",
            direction=direction,
            account_token=self.token,
            amount=amount,
            currency="USD",
            rail=rail,
        )
        payments.receive(self.session, order)
        return order.reference

    def state(self, reference: str) -> State:
        """How far it is."""
        payment = find(self.session, reference)
        assert payment is not None
        return payment.state

    def customer(self) -> tuple[int, int]:
        """What the customer has, and how much of it is reserved."""
        account = books.find_account(self.session, self.account_id)
        assert account is not None
        return account.balance, account.held

    def ours(self) -> int:
        """What Sagapay has, in books that balance."""
        (total,) = books.totals(self.session)
        assert total.balance_sum == total.entry_sum == 0
        return total.settlement_balance


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path / "bank.sqlite3")


def test_an_ach_pull_is_reserved_until_it_settles(bank: Bank) -> None:
    reference = bank.pay()
    assert (bank.state(reference), bank.customer()) == (State.ACCEPTED, (1_000, 400))
    bank.wait_until("2026-03-03T08:29:59")
    assert bank.state(reference) is State.ACCEPTED
    bank.wait_until("2026-03-03T08:30")
    assert (bank.state(reference), bank.customer(), bank.ours()) == (State.SETTLED, (600, 0), 400)


def test_it_can_be_cancelled_while_its_batch_is_open_and_then_never_settles(bank: Bank) -> None:
    reference = bank.pay()
    bank.wait_until("2026-03-02T16:44:59")
    cancelled = payments.cancel(bank.session, reference)
    assert cancelled is not None
    assert (cancelled.state, bank.customer()) == (State.CANCELLED, (1_000, 0))
    bank.wait_until("2026-03-09T09:00")
    assert (bank.state(reference), bank.ours()) == (State.CANCELLED, 0)


def test_it_cannot_be_cancelled_when_its_batch_has_closed_nor_over_instant(bank: Bank) -> None:
    late, instant = bank.pay(), bank.pay(rail=Rail.INSTANT)
    bank.wait_until("2026-03-02T16:45")
    for reference, state in ((late, State.ACCEPTED), (instant, State.SETTLED)):
        payment = payments.cancel(bank.session, reference)
        assert payment is not None
        assert payment.state is state
    assert payments.cancel(bank.session, "txn_never") is None


def test_a_return_gives_the_customer_back_even_what_sagapay_no_longer_has(bank: Bank) -> None:
    reference = bank.pay()
    bank.wait_until("2026-03-03T08:30")
    bank.pay(Direction.PUSH, Rail.INSTANT)
    assert bank.ours() == 0
    given = returns.give_back(bank.session, ReturnOrder(reference=reference, code="R10"))
    payment = find(bank.session, reference)
    assert payment is not None
    assert (payment.state, payment.returned) == (State.RETURNED, given)
    assert (given.code, given.amount) == ("R10", 400)
    assert (bank.ours(), bank.customer()) == (-400, (1_400, 0))
    *_, line = statement.lines(bank.session, "USD", since=0, booked_from=0, booked_until=2**62, limit=10)
    assert (line.kind, line.reference, line.amount) == (MovementKind.RETURN, reference, -400)
    assert (line.return_id, line.return_code) == (given.return_id, "R10")


def test_a_returned_push_comes_back_to_sagapay(bank: Bank) -> None:
    bank.pay(rail=Rail.INSTANT, amount=500)
    reference = bank.pay(Direction.PUSH)
    bank.wait_until("2026-03-03T08:30")
    returns.give_back(bank.session, ReturnOrder(reference=reference, code="R23"))
    assert (bank.ours(), bank.customer()) == (500, (500, 0))


def test_returns_go_wrong_when_told_to(bank: Bank) -> None:
    reference = bank.pay()
    bank.wait_until("2026-03-03T08:30")
    first = returns.give_back(bank.session, ReturnOrder(reference=reference, code="R01", amount=399))
    second = returns.give_back(bank.session, ReturnOrder(reference=reference, code="R01"))
    invented = returns.give_back(
        bank.session, ReturnOrder(reference="txn_never", code="R05", amount=7, invented=Direction.PULL)
    )
    assert bank.ours() == 400 - 399 - 400 - 7
    payment = find(bank.session, reference)
    assert payment is not None
    assert payment.returned == first
    lines = statement.lines(bank.session, "USD", since=0, booked_from=0, booked_until=2**62, limit=10)
    back = [(line.return_id, line.reference) for line in lines if line.kind is MovementKind.RETURN]
    assert back == [
        (first.return_id, reference),
        (second.return_id, reference),
        (invented.return_id, "txn_never"),
    ]


def test_nothing_comes_back_that_has_not_settled_or_is_unknown(bank: Bank) -> None:
    with pytest.raises(CannotReturn):
        returns.give_back(bank.session, ReturnOrder(reference=bank.pay(), code="R01"))
    with pytest.raises(PaymentNotSeen):
        returns.give_back(bank.session, ReturnOrder(reference="txn_never", code="R01"))


def test_a_rail_refuses_what_is_above_its_limit_and_says_that_it_is_the_rail(bank: Bank) -> None:
    payment = find(bank.session, bank.pay(rail=Rail.INSTANT, amount=1_000_000_001))
    assert payment is not None
    assert (payment.state, payment.refusal_code, payment.rail_only) == (State.REFUSED, "S03", True)
