"""Clients' holds while a group is decided: placed, drawn on by captures, ended once. Pure: no I/O."""

from dataclasses import replace
from datetime import datetime

from domain.contracts.holds import HoldRequest
from domain.contracts.payments import Failure
from domain.errors import DecisionCode, LedgerRejected
from domain.holds import HoldStatus
from domain.money import Money
from ledger.service import Hold


def new_hold(request: HoldRequest, failure: Failure | None, at: datetime) -> Hold:
    """A hold as it is recorded, with why it failed where it did."""
    return Hold(
        hold_id=request.hold_id,
        client_id=request.client_id,
        wallet_id=request.wallet_id,
        amount=request.amount,
        captured=0,
        status=HoldStatus.FAILED if failure else HoldStatus.ACTIVE,
        memo=request.memo,
        failure=failure,
        effective_at=request.effective_at,
        expires_at=request.expires_at,
        created_at=at,
        ended_at=at if failure else None,
    )


def why_not_captured(hold: Hold, amount: Money, effective_at: datetime) -> Failure | None:
    """Why `amount` cannot be captured by a payment that was asked for at `effective_at` (business time), or None.

    A hold whose time has come is over for captures, whether or not a sweep has been there.
    """
    if hold.status is not HoldStatus.ACTIVE:
        return Failure(code=DecisionCode.HOLD_ENDED, detail=f"The hold is {hold.status}.")
    if effective_at >= hold.expires_at:
        return Failure(code=DecisionCode.HOLD_ENDED, detail="The hold's time was over.")
    if amount.minor_units > hold.remaining:
        return Failure(code=DecisionCode.HOLD_EXCEEDED, detail="The amount is more than what remains of the hold.")
    return None


def captured(hold: Hold, amount: Money, at: datetime, *, releases_rest: bool) -> Hold:
    """The hold after `amount` of it was captured: over with the last of it, or with the release of the rest."""
    assert amount.minor_units <= hold.remaining, f"{hold.hold_id} has less than {amount}"
    over = releases_rest or amount.minor_units == hold.remaining
    return replace(
        hold,
        captured=hold.captured + amount.minor_units,
        status=HoldStatus.CAPTURED if over else HoldStatus.ACTIVE,
        ended_at=at if over else None,
    )


def ended(hold: Hold, status: HoldStatus, effective_at: datetime, at: datetime) -> Hold:
    """The hold after its release or expiry; as it was if it has ended. Raises LedgerRejected before its time."""
    assert status in (HoldStatus.RELEASED, HoldStatus.EXPIRED)
    if hold.status is not HoldStatus.ACTIVE:
        return hold
    if status is HoldStatus.EXPIRED and effective_at < hold.expires_at:
        raise LedgerRejected(f"{hold.hold_id} does not expire before {hold.expires_at.isoformat()}")
    return replace(hold, status=status, ended_at=at)
