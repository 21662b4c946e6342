"""What operators tell payments and returns: recorded first, then told to the workflow, which names what is recorded."""

import asyncio
from dataclasses import replace
from typing import Final, Protocol

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.security import Caller
from api.temporal_link import TemporalLink
from domain.contracts.operators import ActionKind, ActionState, NewAction, OperatorAction, Via
from domain.contracts.payments import Attention
from domain.contracts.workflows import OperatorCommand
from domain.errors import (
    CannotCancel,
    CannotResolve,
    CannotRetry,
    NotFound,
    SagapayError,
    WorkflowsUnavailable,
)
from domain.ids import ActionId, TransactionId
from infra.settings import Settings
from ledger.service import LedgerService

REFUSAL_OF: Final[dict[ActionKind, type[SagapayError]]] = {
    ActionKind.RETRY: CannotRetry,
    ActionKind.CANCEL: CannotCancel,
    ActionKind.RESOLVE: CannotResolve,
    ActionKind.FORCE: CannotResolve,
}
_ENDED: Final = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION})


def asked_by(caller: Caller) -> str:
    """Who it is that calls: a person, as far as each has a key of their own."""
    return f"{caller.scope}:{caller.key_id}"


class Addressee(Protocol):
    """What is told something: a recorded transaction, or a return that is on a suspense account."""

    @property
    def transaction_id(self) -> TransactionId:
        """What the command is recorded under."""
        ...

    @property
    def workflow_id(self) -> str:
        """Who is told."""
        ...

    @property
    def attention(self) -> Attention | None:
        """Where it is parked."""
        ...


class Operating:
    """Records commands, and carries them to running workflows."""

    def __init__(self, settings: Settings, ledger: LedgerService, link: TemporalLink) -> None:
        self._timeout_seconds = settings.accept_timeout_seconds
        self._ledger = ledger
        self._link = link

    async def tell(self, addressee: Addressee, action: NewAction) -> OperatorAction:
        """Record a command and have it done; repeated, what came of it.

        Raises the refusal of its kind with the reason, IdempotencyKeyReused, or WorkflowsUnavailable.
        """
        recorded = await self.ask(addressee, action)
        return await self._carry(addressee, recorded)

    async def ask(self, addressee: Addressee, action: NewAction) -> OperatorAction:
        """Record a command for the attention that there is now. Raises CannotResolve and CannotRetry."""
        known = await self._find(addressee, action.action_id)
        attention = addressee.attention
        if known is not None:
            seen = replace(action, step=known.step, since=known.since)
        elif attention is not None:
            seen = replace(action, step=attention.step, since=attention.since)
        else:
            raise REFUSAL_OF[action.kind]("It is not parked.")
        return await self._ledger.ask_action(seen)

    async def approve(self, addressee: Addressee, action_id: ActionId, caller: Caller, reason: str) -> OperatorAction:
        """A second operator agrees to a force, and it is done.

        Raises NotFound, CannotApprove, CannotResolve and WorkflowsUnavailable.
        """
        if await self._find(addressee, action_id) is None:
            raise NotFound
        approved = await self._ledger.approve_action(action_id, asked_by(caller), reason)
        return await self._carry(addressee, approved)

    async def _carry(self, addressee: Addressee, action: OperatorAction) -> OperatorAction:
        if action.state is ActionState.ACCEPTED:
            return action
        if action.state is ActionState.REFUSED:
            raise REFUSAL_OF[action.kind](action.note)
        command = OperatorCommand(
            by=action.by, reason=action.reason, action_id=action.action_id, outcome=action.outcome or ""
        )
        handle = self._link.client.get_workflow_handle(addressee.workflow_id)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await handle.execute_update(action.kind.value, command, id=action.action_id, result_type=str)
        except WorkflowUpdateFailedError as error:
            why = error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
            await self._ledger.refuse_action(action.action_id, why)
            raise REFUSAL_OF[action.kind](why) from error
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as error:
            raise WorkflowsUnavailable("The workflow does not answer.") from error
        except RPCError as error:
            if error.status in _ENDED:
                await self._ledger.refuse_action(action.action_id, "The workflow has ended.")
                raise REFUSAL_OF[action.kind]("The workflow has ended, or is being restarted.") from error
            raise WorkflowsUnavailable from error
        done = await self._find(addressee, action.action_id)
        assert done is not None
        return done

    async def _find(self, addressee: Addressee, action_id: ActionId) -> OperatorAction | None:
        recorded = await self._ledger.actions(addressee.transaction_id)
        return next((action for action in recorded if action.action_id == action_id), None)


def new_action(addressee: Addressee, caller: Caller, kind: ActionKind, reason: str, action_id: ActionId) -> NewAction:
    """A command of this caller's."""
    return NewAction(
        action_id=action_id,
        transaction_id=addressee.transaction_id,
        kind=kind,
        via=Via.API,
        by=asked_by(caller),
        reason=reason,
    )
