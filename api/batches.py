"""POST /v1/transfer-batches, GET /v1/transfer-batches/{id} and its items."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from api.answers import answer
from api.backends import Backends, Reach
from api.batch_acceptance import BATCHES as PATH
from api.batch_views import BatchItemsView, TransferBatchView, view_of_batch, view_of_items
from api.cursors import items_cursor, read_items_cursor
from api.idempotency import KeyHeader, demand_key
from api.json_body import JsonRoute
from api.openapi import BATCHES, LOCATION, READS, REPLAYED, problems, success
from api.schemas import TransferBatchBody
from api.security import AnyCaller, App, Caller
from domain.batches import BatchItemStatus
from domain.errors import InvalidCursor, NotFound
from domain.ids import BatchId
from ledger.batch_records import Batch

MAX_PAGE: Final = 1_000

router: Final = APIRouter(route_class=JsonRoute, tags=["batches"])

Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Transfers on a page.")]
OnlyStatus = Annotated[BatchItemStatus | None, Query(description="Only transfers that stand there.")]


@router.post(
    PATH,
    status_code=202,
    response_model=TransferBatchView,
    responses={
        **success(202, "The batch is recorded. Its transfers are made from now on.", {**LOCATION, **REPLAYED}),
        **problems(BATCHES),
    },
    summary="Pay many from one wallet",
)
async def create_batch(body: TransferBatchBody, caller: App, backends: Reach, key: KeyHeader = None) -> Response:
    """Up to 10,000 transfers under one key. All of them are checked before anything is recorded."""
    accepted = await backends.batch_acceptance.accept(caller.client_id, demand_key(key, body), body)
    location = f"{PATH}/{accepted.batch.batch_id}"
    return answer(view_of_batch(accepted.batch), 202, location=location, replayed=accepted.replayed)


@router.get(
    PATH + "/{batch_id}",
    response_model=TransferBatchView,
    responses={**success(200, "The batch as it is now."), **problems(READS)},
    summary="Look at a batch",
)
async def get_batch(batch_id: BatchId, caller: AnyCaller, backends: Reach) -> Response:
    """How far it is, and how many of its transfers went well."""
    return answer(view_of_batch(await _visible(backends, caller, batch_id)))


@router.get(
    PATH + "/{batch_id}/items",
    response_model=BatchItemsView,
    responses={**success(200, "A page of its transfers."), **problems((*READS, InvalidCursor))},
    summary="Read a batch's transfers",
)
async def list_items(
    batch_id: BatchId,
    caller: AnyCaller,
    backends: Reach,
    *,
    cursor: Cursor = None,
    limit: Limit = 100,
    status: OnlyStatus = None,
) -> Response:
    """In the order of the request. A batch that is still going on changes between the pages."""
    first = read_items_cursor(cursor) if cursor is not None else 0
    await _visible(backends, caller, batch_id)
    found = await backends.batches.items(batch_id, first=first, limit=limit + 1, status=status)
    following = items_cursor(found[limit].index) if len(found) > limit else None
    return answer(view_of_items(found[:limit], following))


async def _visible(backends: Backends, caller: Caller, batch_id: BatchId) -> Batch:
    found = await backends.batches.batch(batch_id)
    if found is None:
        raise NotFound
    caller.demand_sight(found.client_id)
    return found
