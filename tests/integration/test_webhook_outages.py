"""Webhooks while parts of the way are missing, or are told to be impatient: each test runs what it wants to run."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from temporalio.service import RPCError

from domain.contracts.webhooks import retries_workflow_id
from domain.webhooks import DISABLED_NOTICE, DeliveryStatus, EndpointStatus
from ledger.webhook_endpoints import EndpointWish
from tests.events.stage import Stage, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers
from tests.webhooks.receiver import Receiver, receiving, says
from tests.webhooks.stage import on_the_way
from tests.workflow.scene import until

pytestmark = pytest.mark.slow

DELIVERIES = "webhooks.deliveries"
DELIVERED, RETRYING, FAILED = DeliveryStatus.DELIVERED, DeliveryStatus.RETRYING, DeliveryStatus.FAILED


@pytest.fixture(scope="module")
def stage(databases: Databases, bare_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home: Path = tmp_path_factory.mktemp("webhook-outages")
    with databases.copy() as database, staged([database], bare_servers.settings, home) as made:
        made.start_broker()
        yield made


@pytest.fixture
async def app() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_an_endpoint_that_has_long_failed_is_disabled_and_the_client_hears(stage: Stage, app: Receiver) -> None:
    async with on_the_way(stage, webhook_disable_after_seconds=0.001) as way, receiving() as other:
        client = await way.client()
        dead, alive = await way.endpoint(client, app.url), await way.endpoint(client, other.url)
        app.always = says(500)
        way.happen(client)
        await way.until(dead, FAILED)
        await way.until(alive, DELIVERED, DELIVERED)
        notice = other.received[-1].event
        assert notice["type"] == DISABLED_NOTICE
        why = "it has failed for too long"
        assert notice["data"] == {"endpoint_id": dead.endpoint_id, "url": app.url, "reason": why}
        assert (await way.endpoints.one(client, dead.endpoint_id)).status is EndpointStatus.DISABLED
        way.happen(client)
        await way.until(alive, *[DELIVERED] * 3)
        await way.until(dead, FAILED)
        await way.endpoints.change(client, dead.endpoint_id, EndpointWish(status=EndpointStatus.ACTIVE))
        app.always = says(200)
        assert len(await way.records.send_again(client, dead.endpoint_id, after=None, since=None, missed=True)) == 3
        await way.until(dead, *[DELIVERED] * 3)


async def test_what_was_taken_by_a_sender_that_died_is_sent(stage: Stage, app: Receiver) -> None:
    async with on_the_way(stage, sending=False) as way:
        client = await way.client()
        endpoint = await way.endpoint(client, app.url)
        way.happen(client)
        await way.until(endpoint, DeliveryStatus.PENDING)
        way.set(endpoint, DELIVERIES, "due_at = now() + interval '1 second'")
    async with on_the_way(stage) as way:
        await way.until(endpoint, DELIVERED)
    assert len(app.received) == 1


async def test_what_lost_its_workflow_gets_another(stage: Stage, app: Receiver) -> None:
    async with on_the_way(stage, worker=False) as way:
        client = await way.client()
        endpoint = await way.endpoint(client, app.url)
        app.then = [says(500)]
        way.happen(client)
        await way.until(endpoint, RETRYING)
        workflow = way.temporal.get_workflow_handle(retries_workflow_id(endpoint.endpoint_id))

        async def terminated() -> bool:
            """It is started after the delivery is seen as failed."""
            with suppress(RPCError):
                await workflow.terminate()
                return True
            return False

        await until("its workflow is terminated", terminated)
        way.set(endpoint, DELIVERIES, "due_at = now() - interval '1 minute'")
    async with on_the_way(stage) as way:
        await way.until(endpoint, DELIVERED)
        await way.over(endpoint)
