"""Trying webhooks again, for the workflow of their endpoint."""

from dataclasses import dataclass

from temporalio import activity

from activities.failures import as_failures
from activities.heartbeats import heartbeats
from domain.contracts.webhooks import DELIVER_DUE_WEBHOOKS, WebhookReport, WebhookRetries
from events.webhook_sender import Deliverer


@dataclass(frozen=True, slots=True)
class WebhookActivities:
    """Needs who sends."""

    deliverer: Deliverer

    @activity.defn(name=DELIVER_DUE_WEBHOOKS)
    async def deliver_due_webhooks(self, retries: WebhookRetries) -> WebhookReport:
        """Try again what is due. An event whose outcome is not recorded is sent again, under the same id."""
        with as_failures():
            async with heartbeats():
                return await self.deliverer.deliver_due(retries.endpoint_id)
