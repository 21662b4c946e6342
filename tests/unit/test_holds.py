"""What becomes of a client's hold, decided purely: every ending from every state, and the limits to the cent."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import LedgerRejected
from domain.holds import HoldStatus
from domain.ids import ClientId, HoldId, WalletId
from domain.money import Money
from ledger import holds
from ledger.service import Hold

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
ENDED = [HoldStatus.CAPTURED, HoldStatus.RELEASED, HoldStatus.EXPIRED, HoldStatus.FAILED]


def hold(amount: int = 100, captured: int = 0, status: HoldStatus = HoldStatus.ACTIVE) -> Hold:
    """A hold that was placed at noon and expires an hour later."""
    return Hold(
        hold_id=HoldId.new(7),
        client_id=ClientId.new(0),
        wallet_id=WalletId.new(7),
        amount=Money(amount, "USD"),
        captured=captured,
        status=status,
        memo=None,
        failure=None,
        effective_at=NOON,
        expires_at=LATER,
        created_at=NOON,
        ended_at=None if status is HoldStatus.ACTIVE else NOON,
    )


def code(found: Hold, amount: int, at: datetime = NOON) -> str | None:
    """Why so much cannot be captured."""
    failure = holds.why_not_captured(found, Money(amount, "USD"), at)
    return failure and failure.code


def test_what_remains_can_be_captured_and_not_a_cent_more() -> None:
    assert [code(hold(100, 30), amount) for amount in (1, 70, 71)] == [None, None, "hold_exceeded"]


def test_a_holds_time_is_over_at_its_end_and_not_before() -> None:
    assert code(hold(), 1, LATER - timedelta(microseconds=1)) is None
    assert code(hold(), 1, LATER) == "hold_ended"


@pytest.mark.parametrize("status", ENDED)
def test_an_ended_hold_holds_nothing_and_stays_as_it_is(status: HoldStatus) -> None:
    ended = hold(100, 30, status)
    assert (ended.remaining, code(ended, 1)) == (0, "hold_ended")
    for ending in (HoldStatus.RELEASED, HoldStatus.EXPIRED):
        assert holds.ended(ended, ending, LATER, LATER) is ended


def test_a_hold_is_released_whenever_and_expires_at_its_time() -> None:
    released = holds.ended(hold(100, 30), HoldStatus.RELEASED, NOON, LATER)
    assert (released.status, released.captured, released.ended_at) == (HoldStatus.RELEASED, 30, LATER)
    assert holds.ended(hold(), HoldStatus.EXPIRED, LATER, LATER).status is HoldStatus.EXPIRED
    with pytest.raises(LedgerRejected):
        holds.ended(hold(), HoldStatus.EXPIRED, LATER - timedelta(microseconds=1), LATER)


@given(amount=st.integers(1, 50), captures=st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=12))
def test_captures_never_take_more_than_was_held(amount: int, captures: list[tuple[int, bool]]) -> None:
    current, taken = hold(amount), 0
    for wanted, rest in captures:
        if code(current, wanted) is not None:
            assert current.status is HoldStatus.CAPTURED or wanted > current.remaining
            continue
        before = current
        current = holds.captured(current, Money(wanted, "USD"), LATER, releases_rest=rest)
        taken += wanted
        assert current.captured == taken <= amount
        over = rest or taken == amount
        assert current.status is (HoldStatus.CAPTURED if over else HoldStatus.ACTIVE)
        assert current.remaining == (0 if over else before.remaining - wanted)
        assert current.ended_at == (LATER if over else None)
