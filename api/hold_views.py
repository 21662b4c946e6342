"""What a hold looks like from outside."""

from datetime import datetime

from pydantic import Field

from api.views import FailureView, MinorUnits, View
from domain.holds import HoldStatus
from domain.ids import HoldId, WalletId
from domain.money import MAX_MINOR_UNITS
from ledger.service import Hold


class HoldView(View):
    """A hold as it is now. Where it has ended, what was neither captured nor remains went back to the wallet."""

    hold_id: HoldId
    wallet_id: WalletId
    status: HoldStatus
    amount: int = Field(ge=1, le=MAX_MINOR_UNITS, description="Minor units (cents for USD).")
    captured: MinorUnits = Field(description="What all captures took, in minor units.")
    remaining: MinorUnits = Field(description="What is still held, in minor units.")
    currency: str
    memo: str | None = None
    failure: FailureView | None = Field(default=None, description="Where the status is failed.")
    effective_at: datetime = Field(description="Business time at which it was asked for.")
    expires_at: datetime = Field(description="Business time at which what remains is let go.")
    created_at: datetime
    ended_at: datetime | None = None


class HoldsView(View):
    """A page of a wallet's holds, newest first; no `next_cursor` on the last."""

    holds: list[HoldView]
    next_cursor: str | None = None


def view_of_hold(found: Hold) -> HoldView:
    """A hold as the ledger has it."""
    failure = found.failure
    return HoldView(
        hold_id=found.hold_id,
        wallet_id=found.wallet_id,
        status=found.status,
        amount=found.amount.minor_units,
        captured=found.captured,
        remaining=found.remaining,
        currency=found.amount.currency,
        memo=found.memo,
        failure=FailureView(code=failure.code, detail=failure.detail) if failure else None,
        effective_at=found.effective_at,
        expires_at=found.expires_at,
        created_at=found.created_at,
        ended_at=found.ended_at,
    )
