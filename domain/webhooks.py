"""Webhooks to apps: what they can be told of, what becomes of an endpoint and of a delivery."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, get_args

from domain.events import AnyEvent, DeadLetteredEvent, EntryPostedEvent, EventModel
from domain.ids import WebhookEndpointId

DISABLED_NOTICE: Final = "webhook_endpoint.disabled"
"""Told to a client's other endpoints when one of them is given up."""
PING: Final = "webhook_endpoint.ping"
"""Told to one endpoint because its owner asked for it."""


def _type_of(model: type[EventModel]) -> str:
    return str(model.model_fields["type"].default)


EVENT_TYPES: Final[Sequence[str]] = (
    *(_type_of(model) for model in get_args(AnyEvent) if model not in {EntryPostedEvent, DeadLetteredEvent}),
    DISABLED_NOTICE,
    PING,
)
"""What an endpoint can ask for. Entries are for those who read Kafka: several a payment, and without a client."""


class EndpointStatus(StrEnum):
    """Whether an endpoint is told anything. Its owner disables and enables it; we disable one that has long failed."""

    ACTIVE = "active"
    DISABLED = "disabled"


class DeliveryStatus(StrEnum):
    """Where an event's way to one endpoint stands: not tried yet, tried and to be tried again, there, or given up."""

    PENDING = "pending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"


def secret_place(column: str, endpoint_id: WebhookEndpointId) -> str:
    """Where an endpoint's secret is kept, as its encryption is bound to it."""
    return f"webhook_endpoints.{column}:{endpoint_id.uuid}"
