"""GET /v1/transactions/{id}, and its cancellation."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from api.answers import answer
from api.backends import Backends, Reach
from api.idempotency import KeyHeader, demand_key
from api.json_body import JsonRoute
from api.openapi import READS, WRITES, problems, success
from api.schemas import ReasonBody
from api.security import AnyCaller, Caller
from api.views import TransactionDetail, detail_of_transaction
from api.waiting import MAX_WAIT_SECONDS
from domain.errors import CannotCancel, NotFound, WorkflowsUnavailable
from domain.ids import TransactionId
from ledger.service import TimelineItem, Transaction

router: Final = APIRouter(route_class=JsonRoute, tags=["transactions"])

Wait = Annotated[
    int, Query(ge=0, le=MAX_WAIT_SECONDS, description="Hold the answer until the payment is final, in seconds.")
]


@router.get(
    "/v1/transactions/{transaction_id}",
    response_model=TransactionDetail,
    responses={**success(200, "The payment as it is now."), **problems(READS)},
    summary="Look at a payment",
)
async def get_transaction(
    transaction_id: TransactionId, caller: AnyCaller, backends: Reach, wait: Wait = 0
) -> Response:
    """With its timeline, and with `attention` where it needs a person."""
    found = await _visible(backends, caller, transaction_id)
    return await _detail(backends, caller, await backends.waiting.until_final(found, wait))


@router.post(
    "/v1/transactions/{transaction_id}/cancel",
    response_model=TransactionDetail,
    responses={
        **success(200, "The payment is cancelled, or about to be."),
        **problems((*WRITES, NotFound, CannotCancel, WorkflowsUnavailable)),
    },
    summary="Cancel a payment while nothing irrevocable was sent",
)
async def cancel_transaction(
    transaction_id: TransactionId,
    caller: AnyCaller,
    backends: Reach,
    body: ReasonBody | None = None,
    key: KeyHeader = None,
) -> Response:
    """Cancelling twice is the same as once. A payment that has ended otherwise answers 409 with the reason."""
    demand_key(key, body)
    found = await _visible(backends, caller, transaction_id)
    reason = body.reason if body is not None and body.reason is not None else ""
    return await _detail(backends, caller, await backends.cancelling.cancel(found, caller, reason))


async def _visible(backends: Backends, caller: Caller, transaction_id: TransactionId) -> Transaction:
    found = await backends.ledger.transaction(transaction_id)
    if found is None:
        raise NotFound
    caller.demand_sight(found.client_id)
    return found


async def _detail(backends: Backends, caller: Caller, found: Transaction) -> Response:
    timeline = await backends.ledger.timeline(found.transaction_id)
    if not caller.is_operator:
        timeline = [_for_apps(item) for item in timeline]
    return answer(detail_of_transaction(found, timeline))


def _for_apps(item: TimelineItem) -> TimelineItem:
    """Apps see what was done; who did it and what they know of the bank is between operators."""
    if not item.type.startswith("operator."):
        return item
    return replace(item, detail={name: said for name, said in item.detail.items() if name == "outcome"})
