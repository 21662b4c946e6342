"""Payments, holds and batches as a few fields each: what the dictionary that stands for the ledger is made of."""

from dataclasses import dataclass, field
from typing import NamedTuple

from domain.batches import BatchMode, BatchStatus
from domain.contracts.payments import PaymentRequest
from domain.holds import HoldStatus
from domain.ids import BatchId, TransactionId, WalletId
from domain.transactions import Step, StepDecision, TransactionStatus
from tests.property.wallet_model import day_of

POSTED, REFUSED = StepDecision.POSTED, StepDecision.REFUSED
KEY_REUSED = "idempotency_key_reused"
AT_ONCE = 300
"""What is available at once of a deposit over ACH, minor units."""
RETURNING = (Step.RETURN_DEPOSIT, Step.RETURN_WITHDRAWAL)
FAILING = (Step.FAIL_DEPOSIT, Step.RELEASE_WITHDRAWAL, Step.REVERSE_TRANSFER)
FOLLOWING = {
    Step.SETTLE_TRANSFER: (),
    Step.COMPLETE_TRANSFER: (),
    Step.REVERSE_TRANSFER: (),
    Step.CAPTURE_HOLD: (),
    Step.RECORD_DEPOSIT: (Step.CREDIT_DEPOSIT, Step.FAIL_DEPOSIT),
    Step.CREDIT_DEPOSIT: (Step.SETTLE_DEPOSIT,),
    Step.SETTLE_DEPOSIT: (Step.RETURN_DEPOSIT, Step.MATURE_DEPOSIT),
    Step.MATURE_DEPOSIT: (Step.RETURN_DEPOSIT,),
    Step.FAIL_DEPOSIT: (),
    Step.HOLD_WITHDRAWAL: (Step.CAPTURE_WITHDRAWAL, Step.RELEASE_WITHDRAWAL),
    Step.CAPTURE_WITHDRAWAL: (Step.SETTLE_WITHDRAWAL,),
    Step.SETTLE_WITHDRAWAL: (Step.RETURN_WITHDRAWAL,),
    Step.RELEASE_WITHDRAWAL: (),
    Step.RETURN_DEPOSIT: (),
    Step.RETURN_WITHDRAWAL: (),
}
"""Written out, not read from ledger/rules.py: a model that asks what it models proves nothing."""
UNDER_WAY = (
    *(Step.SEND_TRANSFER, Step.RECORD_DEPOSIT, Step.CREDIT_DEPOSIT),
    *(Step.HOLD_WITHDRAWAL, Step.CAPTURE_WITHDRAWAL),
)


class Outcome(NamedTuple):
    """What the ledger answers to a step."""

    transaction_id: TransactionId
    step: Step
    decision: StepDecision
    status: TransactionStatus
    failure: str | None
    replayed: bool


Answer = Outcome | tuple[object, ...] | str
"""What a caller is told; the code of an error is a plain word."""


@dataclass
class PaymentModel:
    """A payment: its request under the id that was recorded, and the steps it took, or why it was refused.

    `reason` is what the step said that ended it unpaid; `received` is what the receiver's shard made of a transfer that
    was sent there. `deferred` is what of a deposit waits to be available, in minor units.
    """

    request: PaymentRequest
    steps: list[Step]
    refusal: str | None = None
    reason: str | None = None
    received: Outcome | None = None
    deferred: int = 0

    @property
    def sent(self) -> bool:
        """Whether it is between shards, or was."""
        return self.steps[0] is Step.SEND_TRANSFER and self.refusal is None

    @property
    def undeliverable(self) -> str | None:
        """Why its receiver was not credited, if that is certain."""
        return self.received.failure if self.received else None

    @property
    def status(self) -> TransactionStatus:
        """Where it stands."""
        if self.refusal or self.steps[-1] in FAILING:
            return TransactionStatus.FAILED
        if self.steps[-1] in RETURNING:
            return TransactionStatus.RETURNED
        under_way = self.steps[-1] in UNDER_WAY
        return TransactionStatus.PROCESSING if under_way else TransactionStatus.SUCCEEDED

    @property
    def possible(self) -> tuple[Step, ...]:
        """The steps that may come next."""
        if self.refusal:
            return ()
        if self.steps[-1] is not Step.SEND_TRANSFER:
            following = FOLLOWING[self.steps[-1]]
            return tuple(step for step in following if step is not Step.MATURE_DEPOSIT or self.deferred)
        if self.received is None:
            return ()
        return (Step.COMPLETE_TRANSFER if self.received.decision is POSTED else Step.REVERSE_TRANSFER,)

    @property
    def day(self) -> int:
        """When it was asked for."""
        return day_of(self.request.effective_at)

    def concerns(self, wallet: WalletId) -> bool:
        """Whether the wallet pays or is paid."""
        return wallet in (self.request.source_wallet_id, self.request.destination_wallet_id)

    def outcome(self, step: Step, *, replayed: bool) -> Outcome:
        """The answer to a step that was taken."""
        decision = REFUSED if self.refusal else POSTED
        return Outcome(self.request.transaction_id, step, decision, self.status, self.refusal or self.reason, replayed)


@dataclass
class HoldModel:
    """A client's hold. An `overdue` one was to expire before anybody could capture it."""

    wallet: WalletId
    amount: int
    day: int
    overdue: bool
    status: HoldStatus = HoldStatus.ACTIVE
    refusal: str | None = None
    captured: int = 0

    @property
    def remaining(self) -> int:
        """What is still held."""
        return self.amount - self.captured if self.status is HoldStatus.ACTIVE else 0

    @property
    def standing(self) -> tuple[HoldStatus, int, int, str | None]:
        """What the ledger shows of it."""
        return self.status, self.captured, self.remaining, self.refusal


@dataclass
class BatchModel:
    """A batch, its transfers as payments, and those of them that were begun: what they became, or KEY_REUSED."""

    batch_id: BatchId
    mode: BatchMode
    items: list[PaymentRequest]
    begun: dict[int, TransactionId | str] = field(default_factory=dict)
    status: BatchStatus = BatchStatus.ACCEPTED
    failed_index: int | None = None
    failure: str | None = None
