"""Starting a batch's workflow: the API does when it has recorded the batch, the sweeper where none runs any more."""

from typing import Final

from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from domain import search_attributes
from domain.contracts.batches import BATCH_QUEUE, TRANSFER_BATCH_WORKFLOW, BatchRequest
from domain.ids import ClientId

_CLIENT_ID: Final = SearchAttributeKey.for_keyword(search_attributes.CLIENT_ID)
_KIND: Final = SearchAttributeKey.for_keyword(search_attributes.KIND)
KIND: Final = "transfer_batch"


async def start_batch(client: Client, request: BatchRequest, owner: ClientId) -> bool:
    """Start the workflow of a batch that is not final; False where it runs already.

    The batch's id is the workflow's, so Temporal itself lets no batch run twice. Raises RPCError and RuntimeError.
    """
    attributes = [SearchAttributePair(_CLIENT_ID, owner), SearchAttributePair(_KIND, KIND)]
    try:
        await client.start_workflow(
            TRANSFER_BATCH_WORKFLOW,
            request,
            id=request.batch_id,
            task_queue=BATCH_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=TypedSearchAttributes(attributes),
            static_summary=f"{request.transfers} transfers, {request.mode}",
        )
    except WorkflowAlreadyStartedError:
        return False
    return True
