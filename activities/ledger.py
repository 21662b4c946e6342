"""Ledger activities: each takes one step in one database transaction, or notes attention.

Short and idempotent, so workflows run them as local activities first and as regular ones when that takes too long.
"""

from collections.abc import Callable, Sequence
from typing import Any

from temporalio import activity

from activities.failures import as_failures
from domain.contracts.activities import FIND_RULING, NOTE_ATTENTION, TAKE_ACTION, FirstStepWitness
from domain.contracts.operators import ActionClaim, OperatorAction
from domain.contracts.payments import AttentionNote, PaymentRequest, ReceiveCommand, StepCommand, StepResult
from domain.ids import TransactionId
from domain.transactions import Step
from ledger.service import LedgerService


class LedgerActivities:
    """One activity per step, under the step's name. All raise `ledger_unavailable` (retryable) while it is down."""

    def __init__(self, ledger: LedgerService, witness: FirstStepWitness | None = None) -> None:
        self._ledger = ledger
        self._witness = witness

    async def _begin(self, request: PaymentRequest, step: Step) -> StepResult:
        outcome = None
        try:
            with as_failures():
                outcome = await self._ledger.begin(request, step)
        finally:
            if self._witness is not None:
                self._witness(request, outcome)
        return outcome

    async def _take(self, command: StepCommand) -> StepResult:
        with as_failures():
            return await self._ledger.take_step(command)

    @activity.defn(name=Step.SETTLE_TRANSFER)
    async def settle_transfer(self, request: PaymentRequest) -> StepResult:
        """Record a transfer and move its money, to another shard the first half of the way, or record why not."""
        return await self._begin(request, Step.SETTLE_TRANSFER)

    @activity.defn(name=Step.CAPTURE_HOLD)
    async def capture_hold(self, request: PaymentRequest) -> StepResult:
        """Record a transfer that takes its money from a client's hold, or record why not."""
        return await self._begin(request, Step.CAPTURE_HOLD)

    @activity.defn(name=Step.RECEIVE_TRANSFER)
    async def receive_transfer(self, command: ReceiveCommand) -> StepResult:
        """Credit the receiver on their own shard, or record why not. Retryable while that shard is down."""
        with as_failures():
            return await self._ledger.receive_transfer(command.request, command.failure)

    @activity.defn(name=Step.COMPLETE_TRANSFER)
    async def complete_transfer(self, command: StepCommand) -> StepResult:
        """The receiver's shard has it: the transfer has succeeded, no money moves."""
        return await self._take(command)

    @activity.defn(name=Step.REVERSE_TRANSFER)
    async def reverse_transfer(self, command: StepCommand) -> StepResult:
        """The receiver's shard has refused it: the sender is credited again, the transfer fails."""
        return await self._take(command)

    @activity.defn(name=Step.RECORD_DEPOSIT)
    async def record_deposit(self, request: PaymentRequest) -> StepResult:
        """Record a deposit, or why not. No money moves."""
        return await self._begin(request, Step.RECORD_DEPOSIT)

    @activity.defn(name=Step.HOLD_WITHDRAWAL)
    async def hold_withdrawal(self, request: PaymentRequest) -> StepResult:
        """Record a withdrawal and hold its money, or record why not."""
        return await self._begin(request, Step.HOLD_WITHDRAWAL)

    @activity.defn(name=Step.CREDIT_DEPOSIT)
    async def credit_deposit(self, command: StepCommand) -> StepResult:
        """The bank has accepted the pull: clearing is debited, the wallet credited."""
        return await self._take(command)

    @activity.defn(name=Step.SETTLE_DEPOSIT)
    async def settle_deposit(self, command: StepCommand) -> StepResult:
        """The bank has settled the pull: settlement is debited, clearing credited."""
        return await self._take(command)

    @activity.defn(name=Step.FAIL_DEPOSIT)
    async def fail_deposit(self, command: StepCommand) -> StepResult:
        """The bank has definitely not paid: the deposit fails, no money has moved."""
        return await self._take(command)

    @activity.defn(name=Step.CAPTURE_WITHDRAWAL)
    async def capture_withdrawal(self, command: StepCommand) -> StepResult:
        """The bank has accepted the push: the hold is captured into clearing."""
        return await self._take(command)

    @activity.defn(name=Step.SETTLE_WITHDRAWAL)
    async def settle_withdrawal(self, command: StepCommand) -> StepResult:
        """The bank has settled the push: clearing is debited, settlement credited."""
        return await self._take(command)

    @activity.defn(name=Step.RELEASE_WITHDRAWAL)
    async def release_withdrawal(self, command: StepCommand) -> StepResult:
        """The bank has definitely not paid: the hold is released, the withdrawal fails."""
        return await self._take(command)

    @activity.defn(name=NOTE_ATTENTION)
    async def note_attention(self, note: AttentionNote) -> None:
        """Show at the transaction that it needs a person, or no longer does."""
        with as_failures():
            await self._ledger.note_attention(note.transaction_id, note.attention)

    @activity.defn(name=TAKE_ACTION)
    async def take_action(self, claim: ActionClaim) -> OperatorAction:
        """Record that the payment does what an operator told it. Not retryable: cannot_resolve."""
        with as_failures():
            return await self._ledger.take_action(claim)

    @activity.defn(name=FIND_RULING)
    async def find_ruling(self, transaction_id: TransactionId) -> OperatorAction | None:
        """What a person has said of the bank before this run began."""
        with as_failures():
            return await self._ledger.find_ruling(transaction_id)

    def for_transfers(self) -> Sequence[Callable[..., Any]]:
        """What a worker of the transfer queue needs."""
        return [
            self.settle_transfer,
            self.capture_hold,
            self.receive_transfer,
            self.complete_transfer,
            self.reverse_transfer,
            self.note_attention,
            self.take_action,
        ]

    def all(self) -> Sequence[Callable[..., Any]]:
        """Everything."""
        return [
            *self.for_transfers(),
            self.record_deposit,
            self.hold_withdrawal,
            self.credit_deposit,
            self.settle_deposit,
            self.fail_deposit,
            self.capture_withdrawal,
            self.settle_withdrawal,
            self.release_withdrawal,
            self.find_ruling,
        ]
