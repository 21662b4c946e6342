"""Cancelling a payment: the workflow decides whether it is too late, and says why."""

import asyncio
from typing import Final

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.operating import new_action
from api.security import Caller
from api.temporal_link import TemporalLink
from api.waiting import Waiting
from domain.contracts.operators import ActionKind
from domain.contracts.workflows import CANCEL_UPDATE, OperatorCommand
from domain.errors import CannotCancel, DecisionCode, NotFound, WorkflowsUnavailable
from domain.ids import ActionId, TransactionId
from infra.settings import Settings
from ledger.service import LedgerService, Transaction

_ENDED: Final = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION})


class Cancelling:
    """Asks running payments to end unpaid."""

    def __init__(self, settings: Settings, ledger: LedgerService, link: TemporalLink, waiting: Waiting) -> None:
        self._timeout_seconds = settings.accept_timeout_seconds
        self._ledger = ledger
        self._link = link
        self._waiting = waiting

    async def cancel(self, transaction: Transaction, caller: Caller, reason: str) -> Transaction:
        """The transaction after the workflow has agreed; repeated for a cancelled one, the same.

        Raises CannotCancel with the reason, or WorkflowsUnavailable.
        """
        if _is_cancelled(transaction):
            return transaction
        if transaction.status.final:
            raise CannotCancel(f"The payment has {transaction.status}.")
        action = new_action(
            transaction, caller, ActionKind.CANCEL, reason, ActionId.new(transaction.transaction_id.bucket)
        )
        recorded = await self._ledger.ask_action(action)
        command = OperatorCommand(by=recorded.by, reason=reason, action_id=recorded.action_id)
        ended = not await self._ask(transaction, command)
        if ended:
            return await self._already_ended(transaction.transaction_id)
        current = await self._waiting.until_final(transaction, self._timeout_seconds)
        if current.status.final and not _is_cancelled(current):
            raise CannotCancel(f"The payment has {current.status}.")
        return current

    async def _ask(self, transaction: Transaction, command: OperatorCommand) -> bool:
        """Whether there was a running workflow to ask; a refusal raises CannotCancel."""
        handle = self._link.client.get_workflow_handle(transaction.workflow_id)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await handle.execute_update(CANCEL_UPDATE, command, result_type=str)
        except WorkflowUpdateFailedError as error:
            why = _why(error.cause)
            await self._ledger.refuse_action(ActionId(command.action_id), why or "")
            raise CannotCancel(why) from error
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as error:
            raise WorkflowsUnavailable("The payment's workflow does not answer.") from error
        except RPCError as error:
            if error.status in _ENDED:
                return False
            raise WorkflowsUnavailable from error
        return True

    async def _already_ended(self, transaction_id: TransactionId) -> Transaction:
        current = await self._ledger.transaction(transaction_id)
        if current is None:
            raise NotFound
        if _is_cancelled(current):
            return current
        if current.status.final:
            raise CannotCancel(f"The payment has {current.status}.")
        raise WorkflowsUnavailable("The payment's workflow is being restarted.")


def _is_cancelled(transaction: Transaction) -> bool:
    return transaction.failure is not None and transaction.failure.code == DecisionCode.CANCELLED


def _why(cause: BaseException | None) -> str | None:
    return cause.message if isinstance(cause, ApplicationError) else None
