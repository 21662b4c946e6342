"""Having the inbox of what banks sent looked at."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from domain.contracts.bank_events import BANK_EVENTS_WORKFLOW, BANK_EVENTS_WORKFLOW_ID, STORED_SIGNAL
from domain.contracts.payments import OPERATIONS_QUEUE


async def handle_bank_events(client: Client) -> None:
    """Have all that is stored acted on, by the run that is under way or a new one. Raises RPCError and RuntimeError."""
    await client.start_workflow(
        BANK_EVENTS_WORKFLOW,
        id=BANK_EVENTS_WORKFLOW_ID,
        task_queue=OPERATIONS_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal=STORED_SIGNAL,
        static_summary="act on what banks have sent",
    )
