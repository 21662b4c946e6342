"""What the ledger's writer is asked to do, and what it answers."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.contracts.holds import HoldRequest
from domain.contracts.payments import IdempotencyRecord, PaymentRequest, StepCommand, StepResult
from domain.holds import HoldStatus
from domain.ids import HoldId, WalletId
from domain.transactions import Step
from ledger.service import Hold


@dataclass(frozen=True, slots=True)
class Begin:
    """Record a new payment and take its first step."""

    request: PaymentRequest
    step: Step

    @property
    def key(self) -> IdempotencyRecord:
        """The key that the payment is recorded under."""
        assert self.request.idempotency is not None, "a new payment has a key"
        return self.request.idempotency

    @property
    def proposed_id(self) -> UUID:
        """What the key stands for if it is new."""
        return self.request.transaction_id.uuid


@dataclass(frozen=True, slots=True)
class Take:
    """Take a later step of a recorded payment."""

    command: StepCommand
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Record a client's hold, placed or failed."""

    request: HoldRequest

    @property
    def key(self) -> IdempotencyRecord:
        """The key that the hold is recorded under."""
        return self.request.idempotency

    @property
    def proposed_id(self) -> UUID:
        """What the key stands for if it is new."""
        return self.request.hold_id.uuid


@dataclass(frozen=True, slots=True)
class EndHold:
    """End a client's hold on this wallet as RELEASED or EXPIRED, unless it has ended."""

    hold_id: HoldId
    wallet_id: WalletId
    status: HoldStatus
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class PlacedHold:
    """The id that a key stands for, and the hold if this very work has recorded it."""

    hold_id: HoldId
    fingerprint: str
    hold: Hold | None = None


Keyed = Begin | PlaceHold

Work = Keyed | Take | EndHold

Outcome = StepResult | Exception
"""What became of a step, or the error that is raised to its caller alone."""

Answer = Outcome | PlacedHold | Hold
"""A caller's own, whatever the work was."""
