"""What the ledger's writer is asked to do, and what it answers."""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b, sha256
from typing import Final

from domain.availability import NOTHING_WAITS, DepositTerms
from domain.contracts.holds import HoldRequest
from domain.contracts.payments import Failure, IdempotencyRecord, PaymentRequest, StepCommand, StepResult
from domain.holds import HoldStatus
from domain.ids import HoldId, TransactionId, WalletId
from domain.transactions import Step
from ledger.service import Hold

_PERSON: Final = b"sagapay-step"


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
    def proposed_id(self) -> TransactionId:
        """What the key stands for if it is new."""
        return self.request.transaction_id


@dataclass(frozen=True, slots=True)
class Take:
    """Take a later step of a recorded payment."""

    command: StepCommand
    effective_at: datetime
    terms: DepositTerms = field(default_factory=lambda: NOTHING_WAITS)
    """How much of a deposit that is credited is available at once."""


@dataclass(frozen=True, slots=True)
class Receive:
    """Credit the receiver of a transfer that another shard has sent, or record `failure` as the outcome."""

    request: PaymentRequest
    failure: Failure | None
    effective_at: datetime

    @property
    def key(self) -> IdempotencyRecord:
        """Made of the transaction and the step, so that every attempt, of whatever run, has the same."""
        request = self.request
        said = f"{request.transaction_id} {request.amount} {request.source_wallet_id} {request.destination_wallet_id}"
        digest = blake2b(f"{request.transaction_id} {Step.RECEIVE_TRANSFER}".encode(), digest_size=16, person=_PERSON)
        return IdempotencyRecord(key_digest=digest.hexdigest(), fingerprint=sha256(said.encode()).hexdigest())

    @property
    def proposed_id(self) -> TransactionId:
        """What the key stands for."""
        return self.request.transaction_id


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Record a client's hold, placed or failed."""

    request: HoldRequest

    @property
    def key(self) -> IdempotencyRecord:
        """The key that the hold is recorded under."""
        return self.request.idempotency

    @property
    def proposed_id(self) -> HoldId:
        """What the key stands for if it is new."""
        return self.request.hold_id


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


Keyed = Begin | Receive | PlaceHold
"""What is recorded under a key, once."""

Work = Keyed | Take | EndHold

Outcome = StepResult | Exception
"""What became of a step, or the error that is raised to its caller alone."""

Answer = Outcome | PlacedHold | Hold
"""A caller's own, whatever the work was."""
