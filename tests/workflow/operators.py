"""What operators do to a payment: by its updates, and by the buttons of the Temporal UI."""

from collections.abc import Awaitable
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest, ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from domain.contracts.activities import SweepReport, SweepRequest
from domain.contracts.payments import OPERATIONS_QUEUE
from domain.contracts.workflows import CANCEL_UPDATE, RETRY_UPDATE, SWEEP_WORKFLOW, OperatorCommand
from tests.workflow.scene import Payment, until

FORGOTTEN = [
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_CANCEL_REQUEST,
]
COMMAND = OperatorCommand(by="an operator", reason="a test")


async def retry(payment: Payment) -> str:
    """The update `retry`; what it answered."""
    answer: str = await payment.handle.execute_update(RETRY_UPDATE, COMMAND, result_type=str)
    return answer


async def cancel(payment: Payment) -> str:
    """The update `cancel`; what it answered."""
    answer: str = await payment.handle.execute_update(CANCEL_UPDATE, COMMAND, result_type=str)
    return answer


async def refusal_of(update: Awaitable[str]) -> str | None:
    """The code with which an update was refused."""
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await update
    assert isinstance(refused.value.cause, ApplicationError)
    return refused.value.cause.type


async def current_details(payment: Payment) -> str:
    """What the UI shows at the top of the workflow's page."""
    metadata: WorkflowMetadata = await payment.handle.query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    return metadata.current_details


async def sweep(client: Client, *, older_than_seconds: float = 0) -> SweepReport:
    """One sweep, now."""
    report: SweepReport = await client.execute_workflow(
        SWEEP_WORKFLOW,
        SweepRequest(older_than_seconds=older_than_seconds),
        id=f"sweep-{uuid4().hex}",
        task_queue=OPERATIONS_QUEUE,
        result_type=SweepReport,
    )
    return report


async def reset(client: Client, payment: Payment, *, task: int = 0, forgets: bool = False) -> None:
    """The UI's reset: run again from that workflow task of the newest run, counted from 0.

    Updates and cancellations that came later come again, unless the new run `forgets` them.
    """
    run_id, ends = await _run_with_tasks(client, payment, task + 1)
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=payment.handle.id, run_id=run_id),
            reason="a test",
            workflow_task_finish_event_id=ends[task].event_id,
            request_id=uuid4().hex,
            reset_reapply_exclude_types=FORGOTTEN if forgets else [],
        )
    )


async def _run_with_tasks(client: Client, payment: Payment, count: int) -> tuple[str | None, list[HistoryEvent]]:
    """The newest run that has completed so many workflow tasks, and their ends.

    A sweep that runs beside may start another one at any moment, which finds nothing to do.
    """
    for run_id in ((await payment.handle.describe()).run_id, payment.handle.first_execution_run_id):
        history = await client.get_workflow_handle(payment.handle.id, run_id=run_id).fetch_history()
        ends = [event for event in history.events if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED]
        if len(ends) >= count:
            return run_id, ends
    raise AssertionError(f"{payment.handle.id} has no run with {count} tasks")


async def delete(client: Client, payment: Payment) -> None:
    """The workflow and its history are gone, as after the retention, or by `temporal workflow delete`."""
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=client.namespace, workflow_execution=WorkflowExecution(workflow_id=payment.handle.id)
        )
    )

    async def gone() -> bool:
        try:
            await client.get_workflow_handle(payment.handle.id).describe()
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND
        return False

    await until("the workflow is deleted", gone)
