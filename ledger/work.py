"""What the ledger's writer is asked to do, and what it answers."""

from dataclasses import dataclass
from datetime import datetime

from domain.contracts.payments import IdempotencyRecord, PaymentRequest, StepCommand, StepResult
from domain.transactions import Step


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


@dataclass(frozen=True, slots=True)
class Take:
    """Take a later step of a recorded payment."""

    command: StepCommand
    effective_at: datetime


Work = Begin | Take

Answer = StepResult | Exception
"""A caller's own: the outcome of the step, or the error that is raised to that caller alone."""
