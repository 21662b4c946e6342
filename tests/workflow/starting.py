"""Payments started as the API starts them: transfers eagerly, bank payments by update-with-start."""

import asyncio
from datetime import timedelta

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from domain.contracts.payments import PAYMENT_QUEUE, TRANSFER_QUEUE, PaymentRequest, PaymentResult
from domain.contracts.workflows import ACCEPTED_UPDATE, DEPOSIT_WORKFLOW, TRANSFER_WORKFLOW, WITHDRAWAL_WORKFLOW
from domain.transactions import TransactionKind
from infra.payments import start_payment
from infra.temporal import payment_attributes

REUSE = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
CONFLICT = WorkflowIDConflictPolicy.USE_EXISTING


async def start(
    client: Client, request: PaymentRequest, task_timeout: timedelta | None = None
) -> tuple[WorkflowHandle[object, PaymentResult], PaymentResult]:
    """The workflow, and its reply as soon as the first step is recorded; tried again as a client does at a 503.

    A dead worker's task is another's after `task_timeout`.
    """
    while True:
        try:
            if request.kind is TransactionKind.TRANSFER:
                handle = await start_transfer(client, request, task_timeout)
                return handle, await handle.result()
            return await start_bank_payment(client, request, task_timeout)
        except RPCError as error:
            # On a starved machine a workflow task may fail for slowness.
            if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                raise
            await asyncio.sleep(0.5)


async def start_transfer(
    client: Client, request: PaymentRequest, task_timeout: timedelta | None = None
) -> WorkflowHandle[object, PaymentResult]:
    """A transfer ends in its first task, which a worker of this very client gets with the answer to the start.

    Once it has ended, Temporal says which run it was.
    """
    try:
        return await _start_transfer(client, request, task_timeout)
    except WorkflowAlreadyStartedError as error:
        return client.get_workflow_handle(request.workflow_id, run_id=error.run_id, result_type=PaymentResult)


async def _start_transfer(
    client: Client, request: PaymentRequest, task_timeout: timedelta | None
) -> WorkflowHandle[object, PaymentResult]:
    return await client.start_workflow(
        TRANSFER_WORKFLOW,
        request,
        id=request.workflow_id,
        task_queue=TRANSFER_QUEUE,
        result_type=PaymentResult,
        id_reuse_policy=REUSE,
        id_conflict_policy=CONFLICT,
        request_eager_start=True,
        task_timeout=task_timeout,
        static_summary=f"{request.kind} {request.amount}",
        search_attributes=payment_attributes(request),
    )


async def accepted(client: Client, request: PaymentRequest) -> PaymentResult:
    """The reply of a bank payment, started if it is not there."""
    return (await start_bank_payment(client, request))[1]


async def start_without_waiting(client: Client, request: PaymentRequest) -> WorkflowHandle[object, PaymentResult]:
    """A bank payment that nobody waits for, as the sweeper starts it."""
    assert await start_payment(client, request, "by a test")
    return client.get_workflow_handle(request.workflow_id, result_type=PaymentResult)


async def start_bank_payment(
    client: Client, request: PaymentRequest, task_timeout: timedelta | None = None
) -> tuple[WorkflowHandle[object, PaymentResult], PaymentResult]:
    """The update `accepted` answers while the bank is still being asked."""
    assert request.idempotency is not None
    operation: WithStartWorkflowOperation[object, PaymentResult] = WithStartWorkflowOperation(
        DEPOSIT_WORKFLOW if request.kind is TransactionKind.DEPOSIT else WITHDRAWAL_WORKFLOW,
        request,
        id=request.workflow_id,
        task_queue=PAYMENT_QUEUE,
        result_type=PaymentResult,
        id_reuse_policy=REUSE,
        id_conflict_policy=CONFLICT,
        task_timeout=task_timeout,
        static_summary=f"{request.kind} {request.amount}",
        search_attributes=payment_attributes(request),
    )
    reply: PaymentResult = await client.execute_update_with_start_workflow(
        ACCEPTED_UPDATE,
        start_workflow_operation=operation,
        id=f"{ACCEPTED_UPDATE}-{request.idempotency.fingerprint}",
        result_type=PaymentResult,
    )
    return await operation.workflow_handle(), reply
