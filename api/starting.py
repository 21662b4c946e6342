"""Payments become workflows here: a transfer is started and awaited, bank payments answer early by an update."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from api.metrics import TRANSFER_OUTCOMES
from api.temporal_link import TemporalLink
from domain.contracts.payments import PAYMENT_QUEUE, TRANSFER_QUEUE, PaymentRequest, PaymentResult
from domain.contracts.workflows import ACCEPTED_UPDATE, DEPOSIT_WORKFLOW, TRANSFER_WORKFLOW, WITHDRAWAL_WORKFLOW
from domain.errors import NotRecordedYet, WorkflowsUnavailable
from domain.transactions import TransactionKind
from infra.temporal import payment_attributes

# A payment that ended without the answer (terminated, timed out, failed on a bug) may run again and resume.
_REUSE: Final = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
_CONFLICT: Final = WorkflowIDConflictPolicy.USE_EXISTING

_ENDED_WITHOUT_ANSWER: Final = (
    WorkflowAlreadyStartedError,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)

log = structlog.get_logger("api")


class PaymentStarter:
    """Starts payments, or joins those that run under the same workflow id."""

    def __init__(self, link: TemporalLink) -> None:
        self._link = link

    async def accept(self, request: PaymentRequest) -> PaymentResult:
        """The recorded outcome of the first step; for a transfer that is all of it.

        Raises NotRecordedYet where the workflow has ended without this answer, or WorkflowsUnavailable. Both leave
        open whether the payment is recorded: ask the ledger.
        """
        client = self._link.client
        try:
            if request.kind is TransactionKind.TRANSFER:
                return await self._transfer(client, request)
            return await self._bank_payment(client, request)
        except _ENDED_WITHOUT_ANSWER as error:
            raise NotRecordedYet from error
        except (RPCError, RuntimeError) as error:
            log.warning("temporal.refused", error=str(error), workflow_kind=request.kind)
            raise WorkflowsUnavailable from error

    async def _transfer(self, client: Client, request: PaymentRequest) -> PaymentResult:
        with self._link.outcomes.awaited(request.workflow_id) as heard:
            handle = await client.start_workflow(
                TRANSFER_WORKFLOW,
                request,
                id=request.workflow_id,
                task_queue=TRANSFER_QUEUE,
                result_type=PaymentResult,
                id_reuse_policy=_REUSE,
                id_conflict_policy=_CONFLICT,
                request_eager_start=self._link.starts_eagerly,
                static_summary=_summary(request),
                search_attributes=payment_attributes(request),
            )
            early = await heard if _runs_here(handle) else None
        if early is not None:
            TRANSFER_OUTCOMES.labels("ledger").inc()
            return early
        result: PaymentResult = await handle.result()
        TRANSFER_OUTCOMES.labels("workflow").inc()
        return result

    async def _bank_payment(self, client: Client, request: PaymentRequest) -> PaymentResult:
        assert request.idempotency is not None
        deposit = request.kind is TransactionKind.DEPOSIT
        start: WithStartWorkflowOperation[object, object] = WithStartWorkflowOperation(
            DEPOSIT_WORKFLOW if deposit else WITHDRAWAL_WORKFLOW,
            request,
            id=request.workflow_id,
            task_queue=PAYMENT_QUEUE,
            result_type=PaymentResult,
            id_reuse_policy=_REUSE,
            id_conflict_policy=_CONFLICT,
            static_summary=_summary(request),
            search_attributes=payment_attributes(request),
        )
        try:
            # A closed workflow answers a known update id whatever it is asked: the fingerprint tells bodies apart.
            result: PaymentResult = await client.execute_update_with_start_workflow(
                ACCEPTED_UPDATE,
                start_workflow_operation=start,
                id=f"{ACCEPTED_UPDATE}-{request.idempotency.fingerprint}",
                result_type=PaymentResult,
            )
        except BaseException:
            await _consume(start)
            raise
        return result


async def _consume(start: WithStartWorkflowOperation[object, object]) -> None:
    # The start's own future carries the same error and complains when nobody looks at it.
    with suppress(Exception):
        async with asyncio.timeout(0):
            await start.workflow_handle()


def _runs_here(handle: WorkflowHandle[object, PaymentResult]) -> bool:
    """Whether this process was handed the run's first task. The SDK (1.35) says so, but not in its documentation."""
    return bool(getattr(handle, "__temporal_eagerly_started", False))


def _summary(request: PaymentRequest) -> str:
    return f"{request.kind} {request.amount}"
