"""Where an app wants to hear of events: its endpoints and their secrets."""

from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Response

from api.answers import answer
from api.backends import Backends, Reach
from api.idempotency import KeyHeader, demand_key, fingerprint_of, record_of
from api.json_body import JsonRoute
from api.openapi import LOCATION, READS, REPLAYED, WRITES, problems, success
from api.security import App
from api.webhook_bodies import EndpointBody, EndpointChangeBody, EndpointsView, EndpointView, RotateBody
from domain.errors import Forbidden, IdempotencyKeyReused, InvalidRequest, NotFound, TooManyEndpoints
from domain.ids import WebhookEndpointId
from infra.egress import is_public
from ledger.webhook_endpoints import EndpointWish, WebhookEndpoint

router: Final = APIRouter(route_class=JsonRoute, tags=["webhooks"])

ENDPOINTS: Final = "/v1/webhook-endpoints"
ENDPOINT: Final = "/v1/webhook-endpoints/{endpoint_id}"


@router.post(
    ENDPOINTS,
    status_code=201,
    response_model=EndpointView,
    responses={
        **success(201, "The endpoint and its secret.", {**LOCATION, **REPLAYED}),
        **problems((*WRITES, IdempotencyKeyReused, NotFound, TooManyEndpoints)),
    },
    summary="Hear of events at an address",
)
async def create_endpoint(body: EndpointBody, caller: App, backends: Reach, key: KeyHeader = None) -> Response:
    """From now on. Messages are signed with the secret as Standard Webhooks 1.0.0 says."""
    record = record_of(caller.client_id, None, demand_key(key, body), fingerprint_of(ENDPOINTS, body))
    _demand_reachable(backends, body.url)
    wish = EndpointWish(description=body.description, event_types=tuple(body.event_types))
    made, replayed = await backends.webhook_endpoints.add(caller.client_id, body.url, wish, record)
    location = f"{ENDPOINTS}/{made.endpoint_id}"
    return answer(_view(made, secret=True), 201, location=location, replayed=replayed)


@router.get(
    ENDPOINTS,
    response_model=EndpointsView,
    responses={**success(200, "All of them."), **problems((*READS, Forbidden))},
    summary="List webhook endpoints",
)
async def list_endpoints(caller: App, backends: Reach) -> Response:
    """Oldest first, without their secrets."""
    found = await backends.webhook_endpoints.all(caller.client_id)
    return answer(EndpointsView(endpoints=[_view(endpoint) for endpoint in found]))


@router.get(
    ENDPOINT,
    response_model=EndpointView,
    responses={**success(200, "The endpoint."), **problems((*READS, Forbidden))},
    summary="Look at a webhook endpoint",
)
async def get_endpoint(endpoint_id: WebhookEndpointId, caller: App, backends: Reach) -> Response:
    """How it stands, without its secret."""
    return answer(_view(await backends.webhook_endpoints.one(caller.client_id, endpoint_id)))


@router.patch(
    ENDPOINT,
    response_model=EndpointView,
    responses={**success(200, "The endpoint as it is now."), **problems((*WRITES, NotFound))},
    summary="Change, disable or enable a webhook endpoint",
)
async def change_endpoint(
    endpoint_id: WebhookEndpointId, body: EndpointChangeBody, caller: App, backends: Reach
) -> Response:
    """Disabled, what waits for it is given up; enabled, it hears of what happens from then on: replay the rest."""
    if body.url is not None:
        _demand_reachable(backends, body.url)
    wish = EndpointWish(
        url=body.url,
        description=body.description,
        event_types=None if body.event_types is None else tuple(body.event_types),
        status=body.status,
    )
    return answer(_view(await backends.webhook_endpoints.change(caller.client_id, endpoint_id, wish)))


@router.post(
    f"{ENDPOINT}/rotate-secret",
    response_model=EndpointView,
    responses={
        **success(200, "The endpoint and its new secret.", REPLAYED),
        **problems((*WRITES, NotFound, IdempotencyKeyReused)),
    },
    summary="Give a webhook endpoint a new secret",
)
async def rotate_secret(
    endpoint_id: WebhookEndpointId,
    caller: App,
    backends: Reach,
    body: RotateBody | None = None,
    key: KeyHeader = None,
) -> Response:
    """For 24 hours messages are signed with the secret before, too."""
    said = body or RotateBody()
    fingerprint = fingerprint_of(f"{ENDPOINTS}/{endpoint_id}/rotate-secret", said)
    record = record_of(caller.client_id, None, demand_key(key, said), fingerprint)
    made, replayed = await backends.webhook_endpoints.rotate(caller.client_id, endpoint_id, record)
    return answer(_view(made, secret=True), replayed=replayed)


@router.delete(
    ENDPOINT,
    status_code=204,
    responses=problems((*READS, Forbidden)),
    summary="Remove a webhook endpoint",
)
async def remove_endpoint(endpoint_id: WebhookEndpointId, caller: App, backends: Reach) -> Response:
    """With everything that was sent there."""
    await backends.webhook_endpoints.remove(caller.client_id, endpoint_id)
    return Response(status_code=204)


def _demand_reachable(backends: Backends, url: str) -> None:
    """What a name leads to is looked at with each attempt; this says at once what can never work."""
    if backends.settings.webhook_private_addresses:
        return
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise InvalidRequest("url: wants https")
    try:
        public = is_public(parts.hostname or "")
    except ValueError:
        return
    if not public:
        raise InvalidRequest("url: wants a public address")


def _view(endpoint: WebhookEndpoint, *, secret: bool = False) -> EndpointView:
    return EndpointView(
        endpoint_id=endpoint.endpoint_id,
        url=endpoint.url,
        description=endpoint.description,
        event_types=list(endpoint.event_types),
        status=endpoint.status,
        disabled_reason=endpoint.disabled_reason,
        failures=endpoint.failures,
        failing_since=endpoint.failing_since,
        secret=endpoint.secret if secret else None,
        created_at=endpoint.created_at,
    )
