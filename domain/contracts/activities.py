"""Activity names. Workflows call them by name, `activities/` implements them under the same names.

Every ledger step is an activity of the step's own name, so that operators read it in the Temporal UI.

| activity | input | result |
|---|---|---|
| a first step: settle_transfer, capture_hold, record_deposit, hold_withdrawal | PaymentRequest | StepResult |
| receive_transfer | ReceiveCommand | StepResult |
| any later step | StepCommand | StepResult |
| pull_from_bank, push_to_bank, look_up_at_bank, cancel_at_bank | BankCommand | BankReply |
| note_attention | AttentionNote | nothing |
| take_action | ActionClaim | OperatorAction |
| find_ruling | TransactionId | OperatorAction or nothing |
| sweep_orphans | SweepRequest | SweepReport |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from domain.contracts.payments import PaymentRequest, StepResult

NOTE_ATTENTION: Final = "note_attention"
TAKE_ACTION: Final = "take_action"
FIND_RULING: Final = "find_ruling"
PULL_FROM_BANK: Final = "pull_from_bank"
PUSH_TO_BANK: Final = "push_to_bank"
LOOK_UP_AT_BANK: Final = "look_up_at_bank"
CANCEL_AT_BANK: Final = "cancel_at_bank"
SWEEP_ORPHANS: Final = "sweep_orphans"

FirstStepWitness = Callable[[PaymentRequest, StepResult | None], None]
"""Told of each attempt at a payment's first step in its process: the recorded outcome, or None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """Look at all transactions that have been open for `older_than_seconds`."""

    older_than_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """How many open transactions and batches were seen, and how many had no running workflow and got a new one."""

    seen: int
    restarted: int
