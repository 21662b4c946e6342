"""Webhooks that did not arrive at once: from the workflow of each endpoint to the activity that tries again.

| workflow | id | queue | input → result |
|---|---|---|---|
| WebhookRetriesWorkflow | webhooks:{endpoint} | webhooks | WebhookRetries → nothing |

| activity | input | result |
|---|---|---|
| deliver_due_webhooks | WebhookRetries | WebhookReport |

The signal `more` tells the workflow that something more waits, or that waiting is over.
"""

from dataclasses import dataclass
from typing import Final

from domain.ids import WebhookEndpointId

WEBHOOK_QUEUE: Final = "webhooks"
WEBHOOK_RETRIES_WORKFLOW: Final = "WebhookRetriesWorkflow"
MORE_SIGNAL: Final = "more"
DELIVER_DUE_WEBHOOKS: Final = "deliver_due_webhooks"


def retries_workflow_id(endpoint_id: WebhookEndpointId) -> str:
    """One workflow for each endpoint: a dead one costs a timer, however much waits for it."""
    return f"webhooks:{endpoint_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRetries:
    """Whose deliveries are tried again."""

    endpoint_id: WebhookEndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReport:
    """What was tried, what still waits, and in how many seconds to come back; None where nothing is left to do."""

    delivered: int
    failed: int
    waiting: int
    next_in_seconds: float | None
