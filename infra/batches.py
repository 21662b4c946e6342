"""Starting a batch's workflow: the API does when it has recorded the batch, the sweeper where none runs any more."""

from typing import Final

from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from domain import search_attributes
from domain.contracts.batches import BATCH_QUEUE, TRANSFER_BATCH_WORKFLOW, BatchRequest
from domain.ids import ClientId
from infra.temporal import start_once

_CLIENT_ID: Final = SearchAttributeKey.for_keyword(search_attributes.CLIENT_ID)
_KIND: Final = SearchAttributeKey.for_keyword(search_attributes.KIND)
KIND: Final = "transfer_batch"


async def start_batch(client: Client, request: BatchRequest, owner: ClientId) -> bool:
    """Start the workflow of a batch that is not final; False where it runs already.

    The batch's id is the workflow's, so Temporal itself lets no batch run twice. Raises RPCError and RuntimeError.
    """
    attributes = [SearchAttributePair(_CLIENT_ID, owner), SearchAttributePair(_KIND, KIND)]
    return await start_once(
        client,
        TRANSFER_BATCH_WORKFLOW,
        request,
        workflow_id=request.batch_id,
        queue=BATCH_QUEUE,
        attributes=TypedSearchAttributes(attributes),
        summary=f"{request.transfers} transfers, {request.mode}",
    )
