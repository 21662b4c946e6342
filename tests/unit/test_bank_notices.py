"""Events of banks on the wire: signatures, and what the simulated bank sends, loses, repeats and delays."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bank_adapters.simulator import books, faults, links, notices, payments, returns
from bank_adapters.simulator.database import Session, connect, to_micros
from bank_adapters.simulator.faults import FaultKind, Operation
from bank_adapters.simulator.records import Direction, Order
from bank_adapters.simulator.returns import ReturnOrder
from bank_adapters.simulator.settlement import advance
from domain.errors import BankEventRefused, SettingsInvalid
from infra import signatures
from infra.signatures import TOLERANCE, new_secret, read_secrets, signed, verified

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
BODY = b'{"type":"payment.settled"}'
OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32


def test_a_message_is_taken_from_who_has_the_secret() -> None:
    assert verified([NEW], signed([NEW], "evt_1", NOW, BODY), BODY, NOW) == "evt_1"


def test_while_secrets_are_rotated_either_side_may_be_first() -> None:
    both = signed([NEW, OLD], "evt_1", NOW, BODY)
    assert verified([OLD], both, BODY, NOW) == verified([NEW], both, BODY, NOW) == "evt_1"
    assert verified([NEW, OLD], signed([OLD], "evt_1", NOW, BODY), BODY, NOW) == "evt_1"


Change = Callable[[dict[str, str]], dict[str, str]]


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers | {signatures.ID_HEADER: "evt_2"},
        lambda headers: headers | {signatures.ID_HEADER: ""},
        lambda headers: headers | {signatures.ID_HEADER: "x" * 500},
        lambda headers: headers | {signatures.TIMESTAMP_HEADER: "1"},
        lambda headers: headers | {signatures.TIMESTAMP_HEADER: "soon"},
        lambda headers: headers | {signatures.TIMESTAMP_HEADER: "9" * 40},
        lambda headers: headers | {signatures.SIGNATURE_HEADER: "v1,bm9wZQ=="},
        lambda headers: headers | {signatures.SIGNATURE_HEADER: "v1,\u00e9"},
        lambda headers: headers | signed([OTHER], "evt_1", NOW, BODY),
        lambda headers: headers | signed([NEW], "evt_1", NOW, BODY + b" "),
        lambda headers: {},
    ],
)
def test_anything_else_is_refused(change: Change) -> None:
    with pytest.raises(BankEventRefused):
        verified([NEW], change(signed([NEW], "evt_1", NOW, BODY)), BODY, NOW)


def test_a_recording_is_refused_when_its_time_has_passed() -> None:
    headers = signed([NEW], "evt_1", NOW, BODY)
    for still in (NOW + TOLERANCE, NOW - TOLERANCE):
        assert verified([NEW], headers, BODY, still) == "evt_1"
    for late in (NOW + TOLERANCE + timedelta(seconds=1), NOW - TOLERANCE - timedelta(seconds=1)):
        with pytest.raises(BankEventRefused):
            verified([NEW], headers, BODY, late)


def test_secrets_are_read_from_a_file_or_named_as_wrong(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(f"{new_secret()}\n{new_secret()}\n")
    assert len(set(read_secrets(file))) == 2
    for wrong in ("", "whsec_c2hvcnQ=", "whsec_!"):
        file.write_text(wrong)
        with pytest.raises(SettingsInvalid):
            read_secrets(file)
    with pytest.raises(SettingsInvalid):
        read_secrets(tmp_path / "none")


class Desk:
    """The bank's books with one customer, and the time that a test says it is."""

    def __init__(self, folder: Path) -> None:
        self.connection = connect(folder / "bank.sqlite3")
        self.now = to_micros(NOW)
        account = books.open_customer(self.session, "Ada", 10_000, "USD")
        token, _ = links.begin(self.session, "usr_1")
        self.token = links.exchange(self.session, links.approve(self.session, token, account)).account_token
        self.numbers = iter(range(1, 100))

    @property
    def session(self) -> Session:
        session = Session(self.connection, self.now)
        advance(session)
        return session

    def pull(self, amount: int = 100) -> str:
        """A payment; its reference."""
        reference = f"txn_{next(self.numbers)}:deposit"
        order = Order(
            reference=reference, direction=Direction.PULL, account_token=self.token, amount=amount, currency="USD"
        )
        payments.receive(self.session, order)
        return reference

    def misbehave(self, kind: FaultKind, operation: Operation, seconds: float | None = None) -> None:
        """Once, from now on."""
        faults.add(self.session, kind=kind, operation=operation, account_id=None, code=None, seconds=seconds, times=1)

    def due(self) -> list[tuple[str, str, int]]:
        """What is sent now and taken: type, reference, how many times."""
        found = notices.due(self.session)
        for notice, _ in found:
            notices.note(self.session, notice, taken=True)
        return [(notice.type, notice.reference, times) for notice, times in found]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A bank of this test's own."""
    return Desk(tmp_path)


def test_each_change_of_a_payment_is_told_once(desk: Desk) -> None:
    settled, refused = desk.pull(), desk.pull(1_000_000)
    desk.misbehave(FaultKind.SETTLE_LATER, Operation.PULL, seconds=5)
    later = desk.pull()
    assert desk.due() == [("payment.settled", settled, 1), ("payment.refused", refused, 1)]
    desk.now += 5_000_000
    returns.give_back(desk.session, ReturnOrder(reference=settled, code="R01"))
    assert sorted(desk.due()) == [("payment.returned", settled, 1), ("payment.settled", later, 1)]
    assert desk.due() == []


def test_a_duplicate_at_the_bank_is_not_told(desk: Desk) -> None:
    desk.misbehave(FaultKind.DUPLICATE, Operation.PULL)
    reference = desk.pull()
    assert desk.due() == [("payment.settled", reference, 1)]


def test_it_loses_repeats_and_delays_what_it_is_told_to(desk: Desk) -> None:
    desk.misbehave(FaultKind.WEBHOOK_LOST, Operation.WEBHOOK)
    desk.pull()
    assert desk.due() == []
    desk.misbehave(FaultKind.WEBHOOK_TWICE, Operation.WEBHOOK)
    assert desk.due() == []
    twice = desk.pull()
    assert desk.due() == [("payment.settled", twice, 2)]
    desk.misbehave(FaultKind.WEBHOOK_LATE, Operation.WEBHOOK, seconds=10)
    late = desk.pull()
    assert desk.due() == []
    younger = desk.pull()
    assert desk.due() == [("payment.settled", younger, 1)]
    desk.now += 10_000_000
    assert desk.due() == [("payment.settled", late, 1)]


def test_what_nobody_takes_is_sent_again_and_given_up_at_last(desk: Desk) -> None:
    desk.pull()
    sent = 0
    for _ in range(100):
        for notice, _times in notices.due(desk.session):
            notices.note(desk.session, notice, taken=False)
            sent += 1
        desk.now += 61_000_000
    assert sent == notices.MOST_ATTEMPTS
