"""What people may tell a payment: updates, each validated, and recorded with who and why."""

from datetime import timedelta
from hashlib import blake2b
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory

with workflow.unsafe.imports_passed_through():
    from domain.contracts.activities import TAKE_ACTION
    from domain.contracts.operators import ActionClaim, ActionKind, BankOutcome, OperatorAction
    from domain.contracts.payments import Attention, PaymentRequest, StepResult
    from domain.contracts.workflows import (
        CANCEL_UPDATE,
        CANNOT_CANCEL,
        CANNOT_RESOLVE,
        CANNOT_RETRY,
        FORCE_UPDATE,
        RESOLVE_UPDATE,
        RETRY_UPDATE,
        OperatorCommand,
    )
    from domain.errors import InvalidId
    from domain.ids import ActionId, TransactionId

RECORDED: Final = "operators' commands are recorded"
"""The change since which they are; histories from before it are replayed without."""

LEDGER_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=15)
)
ATTEMPT: Final = timedelta(seconds=15)

_ABANDON: Final = workflow.HandlerUnfinishedPolicy.ABANDON
_NOT_PARKED: Final = "The payment is not parked; it is trying by itself."
_ANONYMOUS: Final = 'Say who you are and why: {"by": "your name", "reason": "why"}.'
_NO_NEWS: Final = "The bank has accepted it, and our books have it: say `settled` once its statement has it, too."
API_ONLY: Final = (
    "What moves money by a person's word goes through the operators' API, which records who it was: "
    "sagapay attention resolve."
)


class Operated:
    """The commands of a payment's workflow. `ruling` is a person's word on what the bank did, until it is used."""

    request: PaymentRequest
    first: StepResult | None
    attention: Attention | None

    def __init__(self, *, cancel_requested: bool = False) -> None:
        self.cancel_requested = cancel_requested
        self.ruling: OperatorAction | None = None
        self._woken = False

    @workflow.update(
        name=RETRY_UPDATE,
        description="Parked? Try the step again now. {by, reason}",
        unfinished_policy=_ABANDON,
    )
    async def retry(self, command: OperatorCommand) -> str:
        """Wake a parked payment."""
        await self._recorded(ActionKind.RETRY, command)
        self._woken = True
        return "trying again"

    @retry.validator
    def _may_retry(self, command: OperatorCommand) -> None:
        if self.attention is None:
            raise refused(CANNOT_RETRY, _NOT_PARKED)
        demand_name(command, CANNOT_RETRY)

    @workflow.update(
        name=CANCEL_UPDATE,
        description="Stop the payment if the bank has not got it. {by, reason}",
        unfinished_policy=_ABANDON,
    )
    async def cancel(self, command: OperatorCommand) -> str:
        """Ask the payment to end unpaid."""
        self.cancel_requested = self.cancel_requested or self.first is None  # Then nothing may begin.
        await self._recorded(ActionKind.CANCEL, command)
        self.cancel_requested = self._woken = True
        return "cancelling"

    @cancel.validator
    def _may_cancel(self, command: OperatorCommand) -> None:
        if reason := self.why_not_cancel():
            raise refused(CANNOT_CANCEL, reason)
        demand_name(command, CANNOT_CANCEL)

    @workflow.update(
        name=RESOLVE_UPDATE,
        description="What the bank said by other ways. Only through the operators' API.",
        unfinished_policy=_ABANDON,
    )
    async def resolve(self, command: OperatorCommand) -> str:
        """Go on as a person had it from the bank, who showed evidence."""
        return await self._rule(ActionKind.RESOLVE, command)

    @resolve.validator
    def _may_resolve(self, command: OperatorCommand) -> None:
        self._demand_news(self._demand_rulable(ActionKind.RESOLVE, command))

    @workflow.update(
        name=FORCE_UPDATE,
        description="Two people decide against what the bank says. Only through the operators' API.",
        unfinished_policy=_ABANDON,
    )
    async def force(self, command: OperatorCommand) -> str:
        """Go on as two people have agreed."""
        return await self._rule(ActionKind.FORCE, command)

    @force.validator
    def _may_force(self, command: OperatorCommand) -> None:
        self._demand_news(self._demand_rulable(ActionKind.FORCE, command))

    def why_not_cancel(self) -> str | None:
        """Why it is too late to cancel, or None."""
        return "A transfer is made in one step; send the money back with a new transfer."

    def why_not_rule(self, kind: ActionKind, outcome: BankOutcome) -> str | None:
        """Why a person's word on what the bank did is of no use here, or None."""
        return "No bank takes part in a transfer: retry it, or cancel it."

    def knows(self, outcome: BankOutcome) -> bool:
        """Whether the bank itself has said so already."""
        return False

    async def _rule(self, kind: ActionKind, command: OperatorCommand) -> str:
        action = await self._recorded(kind, command)
        # What it was recorded for may have gone by meanwhile: a bank's own answer comes first.
        self._demand_rulable(kind, command)
        self.ruling = action
        self._woken = True
        return f"going on as {command.outcome}"

    def _demand_rulable(self, kind: ActionKind, command: OperatorCommand) -> BankOutcome:
        if self.attention is None:
            raise refused(CANNOT_RESOLVE, _NOT_PARKED)
        try:
            ActionId.parse(command.action_id)
            outcome = BankOutcome(command.outcome)
        except (InvalidId, ValueError):
            raise refused(CANNOT_RESOLVE, API_ONLY) from None
        if outcome in (BankOutcome.CORRECTED, BankOutcome.WRITTEN_OFF):
            raise refused(CANNOT_RESOLVE, "Of a payment the bank has said `paid`, `settled` or `not_paid`.")
        if reason := self.why_not_rule(kind, outcome):
            raise refused(CANNOT_RESOLVE, reason)
        return outcome

    def _demand_news(self, outcome: BankOutcome) -> None:
        if self.knows(outcome):
            raise refused(CANNOT_RESOLVE, _NO_NEWS)

    async def _recorded(self, kind: ActionKind, command: OperatorCommand) -> OperatorAction | None:
        """What the ledger has recorded of this command, now if it came from Temporal. Raises cannot_resolve."""
        if not workflow.patched(RECORDED):
            return None
        await workflow.wait_condition(lambda: self.first is not None)
        assert self.first is not None
        payment = self.first.transaction_id
        claim = ActionClaim(
            action_id=ActionId(command.action_id) if command.action_id else _action_of_update(payment),
            transaction_id=payment,
            kind=kind,
            recorded=bool(command.action_id),
            by=command.by,
            reason=command.reason,
            outcome=command.outcome,
            step=self.attention.step if self.attention else None,
            since=self.attention.since if self.attention else None,
        )
        try:
            action: OperatorAction = await workflow.execute_activity(
                TAKE_ACTION,
                claim,
                result_type=OperatorAction,
                start_to_close_timeout=ATTEMPT,
                retry_policy=LEDGER_RETRIES,
                summary=f"record: {kind} by {command.by}"[:200],
            )
        except ActivityError as error:
            raise error.cause or error from None
        return action


def _action_of_update(payment: TransactionId) -> ActionId:
    """The id under which an update that names no action is recorded: the same when a reset applies it again."""
    info = workflow.current_update_info()
    assert info is not None
    digest = blake2b(f"{payment}\n{info.id}".encode(), digest_size=16).hexdigest()
    return ActionId.from_hex(f"{digest[:-3]}{payment.bucket:03x}")


def demand_name(command: OperatorCommand, code: str) -> None:
    """Raises the refusal `code` where nobody says who they are, and no recorded action does."""
    if command.action_id:
        try:
            ActionId.parse(command.action_id)
        except InvalidId:
            raise refused(code, _ANONYMOUS) from None
    elif not (command.by.strip() and command.reason.strip()):
        raise refused(code, _ANONYMOUS)


def refused(code: str, reason: str) -> ApplicationError:
    """What an update's validator says no with."""
    return ApplicationError(reason, type=code, non_retryable=True, category=ApplicationErrorCategory.BENIGN)
