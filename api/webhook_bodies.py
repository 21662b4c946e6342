"""What is said of webhook endpoints, both ways."""

from datetime import datetime
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from api.schemas import Body, Memo, Moment
from api.views import View
from domain.ids import EventId, WebhookEndpointId
from domain.webhooks import EVENT_TYPES, DeliveryStatus, EndpointStatus

LONGEST_URL: Final = 2048
_URL_EXAMPLE: Final = "https://app.example.com/sagapay"


def _http_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("wants an absolute URL like https://app.example.com/sagapay")
    if parts.username is not None or parts.password is not None:
        raise ValueError("wants no user name or password in it: the signature says who is calling")
    if parts.fragment:
        raise ValueError("wants no fragment")
    return url


def _event_types(types: list[str]) -> list[str]:
    if unknown := sorted(set(types) - set(EVENT_TYPES)):
        raise ValueError(f"there is no event type {unknown[0]!r:.100}; there are {', '.join(EVENT_TYPES)}")
    return list(dict.fromkeys(types))


Url = Annotated[str, Field(max_length=LONGEST_URL, examples=[_URL_EXAMPLE]), AfterValidator(_http_url)]
EventTypes = Annotated[
    list[str],
    Field(max_length=100, description="Those it is to hear of; none: all.", examples=[["transaction.completed"]]),
    AfterValidator(_event_types),
]


class EndpointBody(Body):
    """An address that is to hear of events."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"url": _URL_EXAMPLE, "event_types": ["transaction.completed"]}}
    )

    url: Url
    description: Memo = ""
    event_types: EventTypes = Field(default_factory=list)


class EndpointChangeBody(BaseModel):
    """What is to be otherwise; what is left out stays."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, json_schema_extra={"example": {"status": "disabled"}}
    )

    url: Url | None = None
    description: Memo | None = None
    event_types: EventTypes | None = None
    status: Annotated[EndpointStatus, Field(strict=False)] | None = None


class RotateBody(Body):
    """Nothing has to be said, but for the key."""


class ReplayBody(Body):
    """Which events to send again: those behind a cursor, or since a moment; all, or those alone that were missed."""

    model_config = ConfigDict(json_schema_extra={"example": {"since": "2026-03-02T15:04:05Z", "missed": True}})

    after: Annotated[str, Field(max_length=200, description="A cursor of `GET /v1/events` or of this call.")] | None = (
        None
    )
    since: Moment | None = None
    missed: Annotated[bool, Field(description="Only what the endpoint has not got.")] = False

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.after is None) == (self.since is None):
            raise ValueError("wants either after or since")
        return self


class EndpointView(View):
    """An endpoint. The secret signs what is sent there; it is shown when it is new."""

    endpoint_id: WebhookEndpointId
    url: str
    description: str
    event_types: list[str]
    status: EndpointStatus
    disabled_reason: str | None = None
    failures: int = Field(description="Failed attempts since the last that succeeded.")
    failing_since: datetime | None = None
    secret: str | None = Field(default=None, examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"])
    created_at: datetime


class EndpointsView(View):
    """All endpoints of a client, oldest first."""

    endpoints: list[EndpointView]


class DeliveryView(View):
    """An event's way to an endpoint."""

    event_id: EventId
    type: str
    status: DeliveryStatus
    attempts: int = Field(description="Since it was last asked to be sent.")
    next_attempt_at: datetime | None = None
    ended_at: datetime | None = None
    created_at: datetime


class DeliveriesView(View):
    """A page of deliveries, newest first; no `next_cursor` on the last."""

    deliveries: list[DeliveryView]
    next_cursor: str | None = None


class AttemptView(View):
    """One attempt: what the endpoint answered, or why it did not."""

    number: int
    at: datetime
    milliseconds: int
    response_status: int | None = None
    error: str | None = None


class DeliveryDetailView(DeliveryView):
    """A delivery with every attempt, oldest first."""

    attempted: list[AttemptView]


class ReplayView(View):
    """How many events are sent again; with `next_cursor`, there may be more behind it."""

    events: int
    next_cursor: str | None = None


class PingView(View):
    """The event that is sent."""

    event_id: EventId


class AppEventView(View):
    """An event as webhooks carry it; `data` is as docs/events/ has it."""

    id: EventId
    type: str
    version: int
    timestamp: datetime
    trace: str | None = None
    data: dict[str, object]


class AppEventsView(View):
    """A page of a client's events, oldest first. `next_cursor` is always there: ask again with it later."""

    events: list[AppEventView]
    next_cursor: str | None = None
