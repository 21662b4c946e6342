"""Sending webhooks: the first attempt of each from the consumers' role, further ones for the endpoint's workflow.

Whoever sends has taken the delivery for a minute, so two processes send it twice only where one of them died, or did
not get to record what came of it. The app knows the event by its `webhook-id` and ignores it then.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.service import RPCError

from domain.contracts.webhooks import WebhookReport
from domain.errors import LedgerUnavailable, WorkflowsUnavailable
from domain.ids import WebhookEndpointId
from domain.webhooks import DeliveryStatus
from events import metrics
from events.webhook_deliveries import AT_ONCE, LEASE_SECONDS, Attempt, Due, Patience, WebhookDeliveries
from infra.egress import Egress, EgressFailed
from infra.role import Backoff, Life
from infra.secrets import Cipher
from infra.settings import Settings
from infra.signatures import secret_bytes, signed
from infra.temporal import connect
from infra.webhooks import retry_webhooks

LOOK_SECONDS: Final = 0.2
"""Between two looks for what is new."""
MOST_BUSY: Final = 64
"""Endpoints that a process sends to at once."""
LEFT_SECONDS: Final = 10.0
"""What has been due for longer has lost its workflow, or never got one; and how often that is looked for."""
FORGET_SECONDS: Final = 600.0
FORGET_AT_ONCE: Final = 1000
LONGEST_WORK_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class Deliverer:
    """Tries deliveries and records what came of it."""

    def __init__(self, deliveries: WebhookDeliveries, egress: Egress) -> None:
        self.deliveries = deliveries
        self._egress = egress

    async def deliver(self, due: Due) -> DeliveryStatus | None:
        """What the delivery is now. Raises LedgerUnavailable where that could not be recorded."""
        attempt = await self._attempt(due)
        status = await self.deliveries.record(due, attempt)
        metrics.WEBHOOKS.labels("delivered" if attempt.good else "failed").inc()
        if not attempt.good:
            log.info(
                "webhook.failed",
                endpoint_id=due.endpoint_id,
                event_id=due.event_id,
                status=attempt.response_status,
                error=attempt.error,
            )
        return status

    async def _attempt(self, due: Due) -> Attempt:
        began = time.monotonic()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Sagapay-Webhooks/1",
            **signed([secret_bytes(secret) for secret in due.secrets], due.event_id, datetime.now(UTC), due.body),
        }
        try:
            answered = await self._egress.post(due.url, headers, due.body)
        except EgressFailed as error:
            return Attempt(milliseconds=_since(began), error=str(error))
        return Attempt(
            milliseconds=_since(began),
            response_status=answered.status,
            retry_after_seconds=answered.retry_after_seconds,
        )

    async def deliver_due(self, endpoint_id: WebhookEndpointId) -> WebhookReport:
        """Try what is due again, for about a minute at most: one event while the endpoint fails, several once it does
        not. Raises LedgerUnavailable.
        """
        ends = time.monotonic() + LONGEST_WORK_SECONDS
        delivered = failed = 0
        while True:
            standing = await self.deliveries.standing(endpoint_id)
            next_in = standing.next_in_seconds if standing.active else None
            due: Sequence[Due] = ()
            if next_in == 0 and time.monotonic() < ends:
                due = await self.deliveries.take_again(endpoint_id, 1 if standing.failures else AT_ONCE)
            if not due:
                return WebhookReport(
                    delivered=delivered, failed=failed, waiting=standing.waiting, next_in_seconds=next_in
                )
            for status in await asyncio.gather(*map(self.deliver, due)):
                delivered += status is DeliveryStatus.DELIVERED
                failed += status is DeliveryStatus.FAILED

    async def aclose(self) -> None:
        """Close all connections to endpoints."""
        await self._egress.aclose()


def open_deliverer(settings: Settings, engine: AsyncEngine) -> Deliverer:
    """Over connections to the first shard, as patient as the settings say; the caller closes it."""
    patience = Patience(
        retry_seconds=settings.webhook_retry_seconds, disable_after_seconds=settings.webhook_disable_after_seconds
    )
    deliveries = WebhookDeliveries(engine, Cipher.from_settings(settings), patience)
    return Deliverer(deliveries, Egress(allow_private=settings.webhook_private_addresses))


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


class WebhookSender:
    """Sends what is new while `run` runs. An endpoint that hangs keeps nobody waiting but itself."""

    def __init__(self, settings: Settings, engine: AsyncEngine, life: Life) -> None:
        self._settings = settings
        self._life = life
        self._deliverer = open_deliverer(settings, engine)
        self._deliveries = self._deliverer.deliveries
        self._busy: dict[WebhookEndpointId, asyncio.Task[None]] = {}
        self._client: Client | None = None

    async def run(self) -> None:
        """Until the role is asked to end; what is under way is brought to its end. Outages only delay it."""
        chores = [
            asyncio.create_task(self._every(LOOK_SECONDS, self._send_new)),
            asyncio.create_task(self._every(LEFT_SECONDS, self._resume_left)),
            asyncio.create_task(self._every(FORGET_SECONDS, self._forget)),
        ]
        try:
            await asyncio.gather(*chores)
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, *self._busy.values(), return_exceptions=True)
            await self._deliverer.aclose()

    async def _every(self, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(seconds, LEASE_SECONDS)
        while not self._life.stopping:
            pause = seconds
            try:
                await chore()
                backoff.reset()
            except LedgerUnavailable as error:
                pause = backoff.next_seconds()
                log.warning("webhooks.wait", reason=error.detail, seconds=pause)
            await self._life.pause(pause)

    async def _send_new(self) -> None:
        for endpoint_id in await self._deliveries.put_by():
            await self._have_retried(endpoint_id)
        if len(self._busy) >= MOST_BUSY:
            return
        taken = sorted(await self._deliveries.take_new(list(self._busy)), key=lambda due: due.endpoint_id)
        for endpoint_id, dues in groupby(taken, key=lambda due: due.endpoint_id):
            task = self._busy[endpoint_id] = asyncio.create_task(self._send(endpoint_id, list(dues)))
            task.add_done_callback(partial(self._ended, endpoint_id))

    def _ended(self, endpoint_id: WebhookEndpointId, _task: asyncio.Task[None]) -> None:
        del self._busy[endpoint_id]

    async def _send(self, endpoint_id: WebhookEndpointId, dues: Sequence[Due]) -> None:
        # What cannot be recorded is tried again when its minute is over.
        with suppress(LedgerUnavailable):
            found = await asyncio.gather(*map(self._deliverer.deliver, dues))
            if DeliveryStatus.RETRYING in found:
                await self._have_retried(endpoint_id)

    async def _resume_left(self) -> None:
        for endpoint_id in await self._deliveries.left(LEFT_SECONDS):
            log.info("webhooks.resumed", endpoint_id=endpoint_id)
            await self._have_retried(endpoint_id)

    async def _have_retried(self, endpoint_id: WebhookEndpointId) -> None:
        """Without Temporal it is found again by `_resume_left`."""
        try:
            if self._client is None:
                self._client = await connect(self._settings)
            await retry_webhooks(self._client, endpoint_id)
        except (WorkflowsUnavailable, RPCError, RuntimeError) as error:
            log.warning("webhooks.not_retried", endpoint_id=endpoint_id, error=str(error))

    async def _forget(self) -> None:
        while await self._deliveries.forget(self._settings.webhook_keep_days, FORGET_AT_ONCE) == FORGET_AT_ONCE:
            pass
