"""Workflow inputs and results. Everything here is recorded in histories: names and types only ever grow."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.ids import BankAccountId, ClientId, HoldId, TransactionId, WalletId
from domain.money import Money
from domain.rails import Rail
from domain.transactions import Step, StepDecision, TransactionKind, TransactionStatus

TRANSFER_QUEUE: Final = "transfers"
PAYMENT_QUEUE: Final = "payments"
OPERATIONS_QUEUE: Final = "operations"


CONTRADICTION: Final = "bank_contradicts_itself"
"""Attention's reason where the bank says otherwise than before, or than a person said in its name."""


def bank_queue(bank: str) -> str:
    """The task queue of one bank's calls."""
    return f"bank-{bank}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """What is kept for ever of an idempotency key: 16 bytes of digest and 32 of fingerprint, both as hex."""

    key_digest: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlan:
    """How patient a payment is with its bank. Part of the input, so that a history says it and a replay agrees."""

    quick_retry_seconds: float = 120
    slow_retry_seconds: float = 300
    settlement_poll_seconds: float = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """A payment cannot go on by itself: at which step, why, and since when (business time)."""

    step: str
    reason: str
    since: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOver:
    """What a run whose history got too long tells the next one, beyond what is recorded in the ledger.

    Since `quiet_since`, if it is set, nothing was sent to the bank any more.
    """

    cancel_requested: bool = False
    quiet_since: datetime | None = None
    attention: Attention | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a payment failed: a `DecisionCode` value and a sentence for people."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRequest:
    """A payment as the API accepted it, or as the sweeper read it back (then `idempotency` is None).

    `transaction_id` is a proposal: if the key was used before, the ledger answers with the id recorded then.
    With `barred` it is recorded as decided against: whoever accepted it knows why it may not be.
    A transfer with `hold_id` captures that hold; with `releases_rest`, what then remains of it goes back.
    `rails` are decided when it is accepted, and recorded: a resumed payment asks the same ones in the same order.
    `trace` is the W3C traceparent of the request that asked for it; every event of the payment carries it.
    """

    transaction_id: TransactionId
    kind: TransactionKind
    client_id: ClientId
    amount: Money
    workflow_id: str
    effective_at: datetime
    idempotency: IdempotencyRecord | None = None
    source_wallet_id: WalletId | None = None
    destination_wallet_id: WalletId | None = None
    bank_account_id: BankAccountId | None = None
    bank: str | None = None
    memo: str | None = None
    plan: RetryPlan = RetryPlan()
    carried_over: CarriedOver | None = None
    hold_id: HoldId | None = None
    releases_rest: bool = False
    barred: Failure | None = None
    rails: tuple[Rail, ...] = ()
    trace: str | None = None

    @property
    def rail_plan(self) -> tuple[Rail, ...]:
        """The bank's rails in the order in which they are tried; none for a transfer."""
        return self.rails or (() if self.kind is TransactionKind.TRANSFER else (Rail.INSTANT,))

    @property
    def transfer_step(self) -> Step:
        """The one step of a transfer."""
        return Step.SETTLE_TRANSFER if self.hold_id is None else Step.CAPTURE_HOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """The one outcome of a step, and where the transaction stands after it.

    `fingerprint` is that of the request that first used the key, None where the step carried no key.
    """

    transaction_id: TransactionId
    step: Step
    decision: StepDecision
    status: TransactionStatus
    failure: Failure | None = None
    replayed: bool = False
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentResult:
    """What a payment workflow replies and returns."""

    transaction_id: TransactionId
    status: TransactionStatus
    failure: Failure | None = None
    replayed: bool = False
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnNotice:
    """A bank has taken a settled payment back: its own reference of the return, the network's code, and its words."""

    reference: str
    code: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCommand:
    """Take one more step with a recorded transaction. `failure` says why, for steps that end it unpaid; `notice`, for
    those that take a settled payment back; `rail`, over which of its rails it goes, if not the first."""

    transaction_id: TransactionId
    step: Step
    failure: Failure | None = None
    notice: ReturnNotice | None = None
    rail: Rail | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveCommand:
    """Credit the receiver of a recorded transfer on their own shard; `request` names the recorded transaction.

    With `failure` it is not tried any more: that is recorded as the outcome, unless there is one already.
    """

    request: PaymentRequest
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionNote:
    """Raise attention for a transaction, or clear it (None)."""

    transaction_id: TransactionId
    attention: Attention | None
