"""The simulation's comparison of our books with the bank's notices what is off by one payment."""

from dataclasses import replace

import pytest

from bank_adapters.port import PaymentState
from domain.contracts.returns import Unmatched
from domain.ids import TransactionId
from domain.rails import Rail
from domain.transactions import TransactionKind
from tests.simulation.books import BankBooks, BankPayment, BankReturn, OurPayment
from tests.simulation.checks import State, payments_wrong
from tests.simulation.plan import PlannedPayment

TXN = TransactionId.new(0)
REFERENCE = f"{TXN}:deposit"
OURS = OurPayment(TXN, "deposit", 300, "succeeded", failure=None, reason=None, accepted=True)
THEIRS = BankPayment(REFERENCE, 300, PaymentState.SETTLED, settled_at=None, moved=300)
BACK = BankReturn("ret_1", REFERENCE, moved=-300)


def state(ours: OurPayment | None, *theirs: BankPayment, parks: Unmatched | None = None, **bank: object) -> State:
    """One deposit in both books."""
    books = BankBooks(payments={TXN: theirs} if theirs else {}, returns=(), uncorrected={}, statement=0)
    return State(
        people=(),
        planned={TXN: PlannedPayment("01m0", TransactionKind.DEPOSIT, 300, None, 0, (Rail.INSTANT,))},
        parks={BACK.return_id: parks},
        ours={TXN: ours} if ours else {},
        bank=replace(books, **bank),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "same",
    [
        state(OURS, THEIRS),
        state(replace(OURS, status="failed", accepted=False, failure="bank_account_inactive")),
        state(replace(OURS, status="processing"), replace(THEIRS, state=PaymentState.ACCEPTED, moved=0)),
        state(replace(OURS, status="returned"), replace(THEIRS, moved=0), returns=(BACK,)),
        state(OURS, replace(THEIRS, moved=0), returns=(BACK,), parks=Unmatched.LATE),
        state(OURS, replace(THEIRS, moved=600), uncorrected={REFERENCE: 300}),
    ],
    ids=["settled", "never sent", "accepted", "returned", "returned too late", "paid twice, known"],
)
def test_books_that_agree(same: State) -> None:
    assert list(payments_wrong(same)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        state(OURS),
        state(None, THEIRS),
        state(OURS, replace(THEIRS, amount=301)),
        state(OURS, replace(THEIRS, moved=600)),
        state(OURS, replace(THEIRS, moved=0)),
        state(replace(OURS, status="failed", accepted=False, failure="bank_refused"), THEIRS),
        state(replace(OURS, status="failed", accepted=False, failure="bank_refused")),
        state(replace(OURS, status="failed", accepted=False, failure="cancelled")),
        state(replace(OURS, status="returned"), replace(THEIRS, moved=0)),
        state(OURS, replace(THEIRS, moved=0), returns=(BACK,)),
    ],
    ids=[
        "never sent",
        "not ours",
        "another amount",
        "paid twice",
        "not moved",
        "failed here and paid there",
        "refused by nobody",
        "failed for no reason",
        "returned by nobody",
        "returned there alone",
    ],
)
def test_books_that_differ(wrong: State) -> None:
    assert list(payments_wrong(wrong))


def test_a_payment_that_is_paid_over_both_rails_is_an_error() -> None:
    with pytest.raises(ValueError, match="paid twice"):
        list(payments_wrong(state(OURS, THEIRS, replace(THEIRS, reference=f"{REFERENCE}:ach"))))
