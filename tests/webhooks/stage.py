"""Everything between an outbox and an app's server, over a database of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from domain.contracts.payments import IdempotencyRecord
from domain.contracts.webhooks import retries_workflow_id
from domain.ids import ClientId
from domain.webhooks import DeliveryStatus
from events.consumers import ConsumerLoop
from events.webhook_records import LAST, Delivery, WebhookRecords
from events.webhook_sender import WebhookSender, open_deliverer
from events.webhooks import Webhooks
from infra.database import make_engine
from infra.role import Life
from infra.secrets import Cipher
from infra.settings import Settings
from infra.temporal import connect
from ledger.directory import Directory
from ledger.webhook_endpoints import EndpointWish, WebhookEndpoint, WebhookEndpoints
from tests.events.outbox_rows import Row, transaction_event
from tests.events.stage import Stage, eventually
from tests.rest.stage import new_key
from worker import build_webhook_worker

PATIENCE_SECONDS = 60


def new_record() -> IdempotencyRecord:
    """A key that nobody has used."""
    return IdempotencyRecord(key_digest=new_key(), fingerprint=new_key() * 2)


@dataclass
class Way:
    """The consumer, the sender and the worker of retries, running; and what a client sees."""

    stage: Stage
    settings: Settings
    engine: AsyncEngine
    temporal: Client
    endpoints: WebhookEndpoints
    records: WebhookRecords
    directory: Directory

    async def client(self) -> ClientId:
        """A new one."""
        return await self.directory.create_client("an app")

    async def endpoint(self, client: ClientId, url: str, *event_types: str) -> WebhookEndpoint:
        """One more of the client's."""
        made, _ = await self.endpoints.add(client, url, EndpointWish(event_types=event_types), new_record())
        return made

    def happen(self, client: ClientId, times: int = 1) -> list[str]:
        """So many payments of the client's succeed; the ids of their transactions."""
        rows = [_of(client, transaction_event()) for _ in range(times)]
        self.stage.tell(*rows)
        return [row.key for row in rows]

    async def deliveries(self, endpoint: WebhookEndpoint) -> list[Delivery]:
        """Oldest first."""
        return list(await self.records.deliveries(endpoint.endpoint_id, before=LAST, limit=1000))[::-1]

    async def until(self, endpoint: WebhookEndpoint, *wanted: DeliveryStatus) -> list[Delivery]:
        """The endpoint's deliveries, once they stand so, oldest first."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = await self.deliveries(endpoint)
                if [delivery.status for delivery in found] == list(wanted):
                    return found
                await asyncio.sleep(0.05)

    async def over(self, endpoint: WebhookEndpoint) -> None:
        """The end of the workflow of an endpoint's retries."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.temporal.get_workflow_handle(retries_workflow_id(endpoint.endpoint_id)).result()

    async def errors(self, endpoint: WebhookEndpoint, delivery: Delivery) -> list[str | int | None]:
        """What came of each attempt: a status, or words."""
        found = await self.records.delivery(endpoint.endpoint_id, delivery.event_id)
        assert found is not None
        return [attempt.error or attempt.response_status for attempt in found[1]]

    def set(self, endpoint: WebhookEndpoint, table: str, values: str) -> None:
        """Change an endpoint, or its deliveries, as nothing of ours does."""
        query = f"UPDATE {table} SET {values} WHERE endpoint_id = %s"
        with psycopg.connect(self.settings.shard_urls[0], autocommit=True) as connection:
            connection.execute(query.encode(), [endpoint.endpoint_id.uuid])


def _of(client: ClientId, row: Row) -> Row:
    return Row(row.topic, row.key, row.event.model_copy(update={"client_id": client}))


@asynccontextmanager
async def on_the_way(
    stage: Stage, *, sending: bool = True, worker: bool = True, **overrides: object
) -> AsyncIterator[Way]:
    """From the outbox of `stage`, whose broker runs, to the apps; in this process."""
    own = {"webhook_private_addresses": True, "webhook_retry_seconds": (0.2, 0.4, 0.4), **overrides}
    settings = stage.settings.model_copy(update=own)
    life = Life()
    async with AsyncExitStack() as stack:
        engine = make_engine(settings.shard_urls[0], settings)
        stack.push_async_callback(engine.dispose)
        temporal = await connect(settings)
        if worker:
            deliverer = open_deliverer(settings, engine)
            stack.push_async_callback(deliverer.aclose)
            await stack.enter_async_context(build_webhook_worker(temporal, deliverer, settings))
        cipher = Cipher.from_settings(settings)
        way = Way(
            stage,
            settings,
            engine,
            temporal,
            WebhookEndpoints(engine, cipher),
            WebhookRecords(engine),
            Directory(engine, cipher),
        )
        await stack.enter_async_context(stage.relay())
        # A topic that is there at once: a consumer looks for those that come later every few seconds only.
        stage.tell(transaction_event())
        await eventually(lambda: bool(stage.ask("SELECT FROM ledger.relay_positions WHERE id > 0")), "the first event")
        running = [asyncio.create_task(ConsumerLoop(Webhooks(), settings, [engine], life).run())]
        if sending:
            running.append(asyncio.create_task(WebhookSender(settings, engine, life).run()))
        try:
            yield way
        finally:
            life.stop()
            await asyncio.gather(*running)
