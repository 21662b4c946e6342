"""Having an endpoint's webhooks tried again."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from domain.contracts.webhooks import (
    MORE_SIGNAL,
    WEBHOOK_QUEUE,
    WEBHOOK_RETRIES_WORKFLOW,
    WebhookRetries,
    retries_workflow_id,
)
from domain.ids import WebhookEndpointId


async def retry_webhooks(client: Client, endpoint_id: WebhookEndpointId) -> None:
    """Have what waits tried again when it is due, by the run that is under way or a new one. Raises RPCError."""
    await client.start_workflow(
        WEBHOOK_RETRIES_WORKFLOW,
        WebhookRetries(endpoint_id=endpoint_id),
        id=retries_workflow_id(endpoint_id),
        task_queue=WEBHOOK_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal=MORE_SIGNAL,
        static_summary="try an endpoint's webhooks again",
    )
