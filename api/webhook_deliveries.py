"""What an app was told, or would have been: its events, their ways to its endpoints, and sending them again."""

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query, Response

from api.answers import answer
from api.backends import Reach
from api.cursors import deliveries_cursor, events_cursor, read_deliveries_cursor, read_events_cursor
from api.idempotency import KeyHeader, demand_key
from api.json_body import JsonRoute
from api.openapi import READS, WRITES, problems, success
from api.security import App
from api.webhook_bodies import (
    AppEventsView,
    AppEventView,
    AttemptView,
    DeliveriesView,
    DeliveryDetailView,
    DeliveryView,
    PingView,
    ReplayBody,
    ReplayView,
    RotateBody,
)
from api.webhook_endpoints import ENDPOINT
from domain.errors import EndpointDisabled, Forbidden, InvalidCursor, NotFound
from domain.ids import EventId, WebhookEndpointId
from domain.webhooks import DeliveryStatus, EndpointStatus
from events.webhook_records import LAST, MOST_SENT_AGAIN, Delivery
from ledger.webhook_endpoints import WebhookEndpoint

router: Final = APIRouter(route_class=JsonRoute, tags=["webhooks"])

_LONGEST_PAGE: Final = 200


@router.get(
    "/v1/events",
    response_model=AppEventsView,
    responses={**success(200, "A page of them."), **problems((*READS, Forbidden, InvalidCursor))},
    summary="List events",
)
async def list_events(
    caller: App,
    backends: Reach,
    *,
    event_type: Annotated[str | None, Query(alias="type", max_length=100, description="Those of this type.")] = None,
    limit: Annotated[int, Query(ge=1, le=_LONGEST_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Oldest first, from 30 days ago on, of clients that have a webhook endpoint. Ask again with the last cursor."""
    after = read_events_cursor(cursor) if cursor is not None else None
    found = await backends.webhook_records.messages(caller.client_id, after=after, limit=limit, kind=event_type)
    events = [AppEventView.model_validate(orjson.loads(message.body)) for message in found]
    return answer(AppEventsView(events=events, next_cursor=events_cursor(found[-1].position) if found else cursor))


@router.get(
    f"{ENDPOINT}/deliveries",
    response_model=DeliveriesView,
    responses={**success(200, "A page of them."), **problems((*READS, Forbidden, InvalidCursor))},
    summary="List an endpoint's deliveries",
)
async def list_deliveries(
    endpoint_id: WebhookEndpointId,
    caller: App,
    backends: Reach,
    *,
    status: DeliveryStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=_LONGEST_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Newest first."""
    await backends.webhook_endpoints.one(caller.client_id, endpoint_id)
    before = read_deliveries_cursor(cursor) if cursor is not None else LAST
    found = await backends.webhook_records.deliveries(endpoint_id, before=before, limit=limit, status=status)
    more = deliveries_cursor(found[-1].number) if len(found) == limit else None
    return answer(DeliveriesView(deliveries=[_view(delivery) for delivery in found], next_cursor=more))


@router.get(
    f"{ENDPOINT}/deliveries/{{event_id}}",
    response_model=DeliveryDetailView,
    responses={**success(200, "The delivery."), **problems((*READS, Forbidden))},
    summary="Look at a delivery and its attempts",
)
async def get_delivery(endpoint_id: WebhookEndpointId, event_id: EventId, caller: App, backends: Reach) -> Response:
    """What the endpoint answered to each attempt, or why it did not."""
    await backends.webhook_endpoints.one(caller.client_id, endpoint_id)
    found = await backends.webhook_records.delivery(endpoint_id, event_id)
    if found is None:
        raise NotFound
    delivery, attempts = found
    attempted = [
        AttemptView(
            number=attempt.number,
            at=attempt.at,
            milliseconds=attempt.milliseconds,
            response_status=attempt.response_status,
            error=attempt.error,
        )
        for attempt in attempts
    ]
    return answer(DeliveryDetailView(**_view(delivery).model_dump(), attempted=attempted))


@router.post(
    f"{ENDPOINT}/replay",
    status_code=202,
    response_model=ReplayView,
    responses={
        **success(202, "They are on their way."),
        **problems((*WRITES, NotFound, InvalidCursor, EndpointDisabled)),
    },
    summary="Have events sent again",
)
async def replay(
    endpoint_id: WebhookEndpointId, body: ReplayBody, caller: App, backends: Reach, key: KeyHeader = None
) -> Response:
    """Under their own ids, so that who knows one ignores it: repeating this call does no harm, and its key is not kept.

    At most 1,000 at once; with a `next_cursor`, go on `after` it.
    """
    demand_key(key, body)
    endpoint = await backends.webhook_endpoints.one(caller.client_id, endpoint_id)
    _demand_active(endpoint)
    after = read_events_cursor(body.after) if body.after is not None else None
    sent = await backends.webhook_records.send_again(
        caller.client_id, endpoint_id, after=after, since=body.since, missed=body.missed
    )
    more = events_cursor(sent[-1]) if len(sent) == MOST_SENT_AGAIN else None
    return answer(ReplayView(events=len(sent), next_cursor=more), 202)


@router.post(
    f"{ENDPOINT}/ping",
    status_code=202,
    response_model=PingView,
    responses={**success(202, "It is on its way."), **problems((*WRITES, NotFound, EndpointDisabled))},
    summary="Have something sent that means nothing",
)
async def ping(
    endpoint_id: WebhookEndpointId,
    caller: App,
    backends: Reach,
    body: RotateBody | None = None,
    key: KeyHeader = None,
) -> Response:
    """A `webhook_endpoint.ping`, with each call a new one, to see that messages arrive and are understood."""
    demand_key(key, body or RotateBody())
    _demand_active(await backends.webhook_endpoints.one(caller.client_id, endpoint_id))
    return answer(PingView(event_id=await backends.webhook_records.ping(caller.client_id, endpoint_id)), 202)


def _demand_active(endpoint: WebhookEndpoint) -> None:
    if endpoint.status is not EndpointStatus.ACTIVE:
        raise EndpointDisabled(f"The endpoint is disabled ({endpoint.disabled_reason}); enable it first.")


def _view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        event_id=delivery.event_id,
        type=delivery.type,
        status=delivery.status,
        attempts=delivery.attempts,
        next_attempt_at=delivery.due_at if delivery.ended_at is None else None,
        ended_at=delivery.ended_at,
        created_at=delivery.created_at,
    )
