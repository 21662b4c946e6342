"""The way of an endpoint's retries, without the events before it."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from domain.contracts.webhooks import retries_workflow_id
from events.webhook_records import WebhookRecords
from events.webhook_sender import open_deliverer
from infra.database import transaction
from infra.secrets import Cipher
from infra.settings import Settings
from infra.webhooks import retry_webhooks
from ledger.directory import Directory
from ledger.webhook_endpoints import EndpointWish, WebhookEndpoints
from tests.webhooks.receiver import receiving, says
from tests.webhooks.stage import new_record
from worker import build_webhook_worker

_RETRY: Final = text("UPDATE webhooks.deliveries SET status = 'retrying' WHERE endpoint_id = :id")


async def webhook_that_fails_twice(settings: Settings, temporal: Client, engine: AsyncEngine) -> str:
    """A ping that arrives at the third attempt of the workflow. Returns the workflow's id."""
    quick = settings.model_copy(update={"webhook_private_addresses": True, "webhook_retry_seconds": (0.3, 0.3, 0.3)})
    cipher = Cipher.from_settings(quick)
    client_id = await Directory(engine, cipher).create_client("an app")
    deliverer = open_deliverer(quick, engine)
    async with receiving() as app, build_webhook_worker(temporal, deliverer, quick):
        app.then = [says(500), says(500)]
        endpoint, _ = await WebhookEndpoints(engine, cipher).add(client_id, app.url, EndpointWish(), new_record())
        await WebhookRecords(engine).ping(client_id, endpoint.endpoint_id)
        async with transaction(engine) as connection:
            await connection.execute(_RETRY, {"id": endpoint.endpoint_id.uuid})
        await retry_webhooks(temporal, endpoint.endpoint_id)
        workflow_id = retries_workflow_id(endpoint.endpoint_id)
        await temporal.get_workflow_handle(workflow_id).result()
        assert len(app.received) == 3, "it fails twice"
    await deliverer.aclose()
    return workflow_id
