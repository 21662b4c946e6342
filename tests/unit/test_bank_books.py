"""The simulated bank's books against a model of dictionaries: whatever is asked, in whatever order, they balance."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from bank_adapters.simulator import books, faults, links, payments, statement
from bank_adapters.simulator.books import AccountStatus
from bank_adapters.simulator.database import Database, Session, connect
from bank_adapters.simulator.faults import FaultKind, Operation
from bank_adapters.simulator.problems import LinkExpired, LinkUnknown, ReferenceReused, TooLate
from bank_adapters.simulator.records import Direction, Order, Payment, State, find
from bank_adapters.simulator.settlement import advance, correct

SECOND = 1_000_000
AMOUNTS = st.integers(1, 2_000)
DIRECTIONS = st.sampled_from(Direction)


class Books(RuleBasedStateMachine):
    """Random orders, faults and time; the model knows balances, what is reserved, and what is due when."""

    accounts: Bundle[str] = Bundle("accounts")
    orders: Bundle[Order] = Bundle("orders")

    @initialize()
    def open_the_books(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.connection = connect(Path(self.folder.name) / "bank.sqlite3")
        self.connection.execute("PRAGMA synchronous=OFF")
        self.now = 0
        self.next_reference = 0
        self.opened: dict[str, int] = {}
        self.balance: dict[str, int] = {}
        self.held: dict[str, int] = {"ours": 0}
        self.balance["ours"] = 0
        self.status: dict[str, AccountStatus] = {}
        self.account_ids: dict[str, str] = {}
        self.due: list[tuple[int, str, str, int]] = []
        self.answers: dict[str, Payment] = {}

    def teardown(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()
            self.folder.cleanup()

    @property
    def session(self) -> Session:
        session = Session(self.connection, self.now)
        advance(session)
        return session

    @rule(target=accounts, opening=st.integers(0, 5_000))
    def open_account(self, opening: int) -> str:
        account = books.open_customer(self.session, "Ada", opening, "USD")
        link_token, _ = links.begin(self.session, "usr_1")
        token = links.exchange(self.session, links.approve(self.session, link_token, account)).account_token
        self.opened[token] = self.balance[token] = opening
        self.held[token] = 0
        self.status[token] = AccountStatus.OPEN
        self.account_ids[token] = account.account_id
        return token

    @rule(
        target=orders,
        token=accounts,
        direction=DIRECTIONS,
        amount=AMOUNTS,
        later=st.none() | st.integers(0, 5),
        twice=st.booleans(),
    )
    def pay(self, token: str, direction: Direction, amount: int, later: int | None, twice: bool) -> Order:
        self.next_reference += 1
        order = Order(
            reference=f"txn_{self.next_reference}",
            direction=direction,
            account_token=token,
            amount=amount,
            currency="USD",
        )
        if later is not None:
            self.misbehave(FaultKind.SETTLE_LATER, token, later)
        if twice:
            self.misbehave(FaultKind.DUPLICATE, token, None)
        payment, new = payments.receive(self.session, order)
        assert new
        source, destination = (token, "ours") if direction is Direction.PULL else ("ours", token)
        paid = self.expect(source, destination, amount, token, later)
        assert (payment.state is not State.REFUSED) is paid
        if paid:
            assert payment.state is (State.SETTLED if later is None else State.ACCEPTED)
            if twice:
                self.expect(source, destination, amount, token, later)
        self.answers[order.reference] = payment
        faults.remove(self.session, None)
        return order

    def misbehave(self, kind: FaultKind, token: str, seconds: int | None) -> None:
        faults.add(
            self.session,
            kind=kind,
            operation=Operation.ANY,
            account_id=self.account_ids[token],
            code=None,
            seconds=seconds,
            times=1,
        )

    def expect(self, source: str, destination: str, amount: int, token: str, later: int | None) -> bool:
        """What the model makes of one payment."""
        if self.status[token] is not AccountStatus.OPEN or self.balance[source] - self.held[source] < amount:
            return False
        if later is None:
            self.balance[source] -= amount
            self.balance[destination] += amount
        else:
            self.held[source] += amount
            self.due.append((self.now + later * SECOND, source, destination, amount))
            self.settle_model()
        return True

    def settle_model(self) -> None:
        for entry in [entry for entry in self.due if entry[0] <= self.now]:
            _, source, destination, amount = entry
            self.due.remove(entry)
            self.held[source] -= amount
            self.balance[source] -= amount
            self.balance[destination] += amount

    @rule(order=orders)
    def ask_again(self, order: Order) -> None:
        payment, new = payments.receive(self.session, order)
        assert not new
        first = self.answers[order.reference]
        assert (payment.payment_id, payment.refusal_code) == (first.payment_id, first.refusal_code)
        assert payment.state is first.state or (first.state, payment.state) == (State.ACCEPTED, State.SETTLED)

    @rule(order=orders, other=AMOUNTS)
    def ask_for_something_else(self, order: Order, other: int) -> None:
        changed = Order(
            reference=order.reference,
            direction=order.direction,
            account_token=order.account_token,
            amount=order.amount + other,
            currency="USD",
        )
        with pytest.raises(ReferenceReused):
            payments.receive(self.session, changed)

    @rule(target=orders, order=consumes(orders))
    def correct_a_duplicate(self, order: Order) -> MultipleResults[Order] | Order:
        before = books.totals(self.session)[0].duplicated
        noticed = correct(self.session, order.reference)
        undone = before - books.totals(self.session)[0].duplicated
        if undone:
            assert noticed == 1
            sign = 1 if order.direction is Direction.PULL else -1
            assert undone == sign * order.amount
            self.balance["ours"] -= undone
            self.balance[order.account_token] += undone
            return order
        if not noticed:
            return order
        # The bank would undo it as soon as it can, at a time this model does not follow: it forgets again.
        self.connection.execute(
            "UPDATE payments SET corrects_at = NULL WHERE reference = ? AND corrected_at IS NULL", (order.reference,)
        )
        return multiple()

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.settle_model()

    @rule(token=accounts, status=st.sampled_from(AccountStatus))
    def change_status(self, token: str, status: AccountStatus) -> None:
        books.set_status(self.session, self.account_ids[token], status)
        self.status[token] = status

    @invariant()
    def books_balance_and_equal_the_model(self) -> None:
        if not hasattr(self, "connection"):
            return
        session = self.session
        for total in books.totals(session):
            assert total.balance_sum == total.entry_sum == 0
            assert total.settlement_balance == self.balance["ours"]
            assert total.settlement_held == self.held["ours"]
            assert total.vault_balance == -sum(self.opened.values())
        for token, account_id in self.account_ids.items():
            account = books.find_account(session, account_id)
            assert account is not None
            assert (account.balance, account.held) == (self.balance[token], self.held[token])
            assert 0 <= account.held <= account.balance
        balance, booked_at = 0, 0
        for line in statement.lines(session, "USD", since=0, booked_from=0, booked_until=2**62, limit=10_000):
            balance += line.amount
            assert line.balance_after == balance
            assert line.booked_at >= booked_at
            booked_at = line.booked_at
        assert balance == self.balance["ours"]


Books.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(connect(tmp_path / "bank.sqlite3"), SECOND)


def linked(session: Session, opening_balance: int) -> str:
    account = books.open_customer(session, "Ada", opening_balance, "USD")
    link_token, _ = links.begin(session, "usr_1")
    return links.exchange(session, links.approve(session, link_token, account)).account_token


def order(token: str, *, valid_until: int | None = None) -> Order:
    return Order(
        reference="txn_1",
        direction=Direction.PULL,
        account_token=token,
        amount=100,
        currency="USD",
        valid_until=valid_until,
    )


def test_an_order_past_its_time_is_not_started_but_a_known_one_is_answered(session: Session) -> None:
    token = linked(session, 1_000)
    with pytest.raises(TooLate):
        payments.receive(session, order(token, valid_until=session.now - 1))
    assert find(session, "txn_1") is None
    paid, _ = payments.receive(session, order(token, valid_until=session.now))
    assert payments.receive(session, order(token, valid_until=session.now - 1)) == (paid, False)


def test_another_currency_is_refused(session: Session) -> None:
    account = books.open_customer(session, "Ada", 1_000, "EUR")
    link_token, _ = links.begin(session, "usr_1")
    token = links.exchange(session, links.approve(session, link_token, account)).account_token
    payment, _ = payments.receive(session, order(token))
    assert payment.refusal_code == "S02"
    assert [total.balance_sum for total in books.totals(session)] == [0]


def test_a_link_is_approved_once_and_expires(session: Session) -> None:
    account = books.open_customer(session, "Ada", 0, "USD")
    link_token, expires_at = links.begin(session, "usr_1")
    public_token = links.approve(session, link_token, account)
    with pytest.raises(LinkUnknown):
        links.approve(session, link_token, account)
    late = Session(session.connection, expires_at + 1)
    with pytest.raises(LinkExpired):
        links.exchange(late, public_token)


@pytest.mark.parametrize(
    "statement_of_a_thief",
    [
        "UPDATE entries SET amount = amount + 1",
        "DELETE FROM entries",
        "UPDATE accounts SET balance = -1 WHERE kind = 'customer'",
        "UPDATE accounts SET held = balance + 1 WHERE kind = 'customer'",
    ],
)
def test_the_database_refuses_what_the_code_would_never_do(session: Session, statement_of_a_thief: str) -> None:
    books.open_customer(session, "Ada", 1_000, "USD")
    with pytest.raises(sqlite3.IntegrityError):
        session.connection.execute(statement_of_a_thief)


async def test_work_that_fails_leaves_no_trace_and_spares_its_group(tmp_path: Path) -> None:
    database = Database(tmp_path / "bank.sqlite3", before=advance)

    def opening(name: str, fails: bool) -> Callable[[Session], str]:
        def work(session: Session) -> str:
            account_id = books.open_customer(session, name, 100, "USD").account_id
            if fails:
                raise ValueError(name)
            return account_id

        return work

    jobs = [database.run(opening(f"customer {number}", number % 2 == 1)) for number in range(20)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [isinstance(result, ValueError) for result in results] == [number % 2 == 1 for number in range(20)]
    kept = await database.run(lambda session: books.customers(session, "", 100))
    assert {account.holder_name for account in kept} == {f"customer {number}" for number in range(0, 20, 2)}
    (total,) = await database.run(books.totals)
    assert (total.balance_sum, total.customers_balance) == (0, 1_000)
    database.close()
