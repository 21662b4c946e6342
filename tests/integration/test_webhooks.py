"""Webhooks arrive: signed, under one id however often, whatever the app's server does, and harm nobody else."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from domain.contracts.webhooks import retries_workflow_id
from domain.events import TransactionCompletedEvent
from domain.webhooks import PING, DeliveryStatus, EndpointStatus
from events.webhook_sender import open_deliverer
from infra.egress import Egress, EgressFailed
from ledger.webhook_endpoints import EndpointWish
from tests.events.certificates import certified
from tests.events.stage import Stage, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers
from tests.webhooks.receiver import (
    Behaviour,
    Receiver,
    drips,
    hangs,
    hangs_up,
    never_ends,
    receiving,
    says,
    talks_nonsense,
)
from tests.webhooks.stage import Way, new_record, on_the_way

ENDPOINTS, DELIVERIES = "directory.webhook_endpoints", "webhooks.deliveries"
DELIVERED, RETRYING, FAILED = DeliveryStatus.DELIVERED, DeliveryStatus.RETRYING, DeliveryStatus.FAILED


@pytest.fixture(scope="module")
def stage(databases: Databases, bare_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home: Path = tmp_path_factory.mktemp("webhooks")
    with databases.copy() as database, staged([database], bare_servers.settings, home) as made:
        made.start_broker()
        yield made


@pytest.fixture(scope="module")
async def way(stage: Stage) -> AsyncIterator[Way]:
    async with on_the_way(stage) as made:
        yield made


@pytest.fixture
async def app() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_an_event_arrives_signed_as_it_happened(way: Way, app: Receiver) -> None:
    client = await way.client()
    endpoint = await way.endpoint(client, app.url)
    (tx_id,) = way.happen(client)
    (delivery,) = await way.until(endpoint, DELIVERED)
    (received,) = app.received
    event = Webhook(endpoint.secret).verify(received.body, received.headers)
    assert event["id"] == received.headers["webhook-id"] == delivery.event_id
    assert event["type"] == "transaction.completed"
    assert TransactionCompletedEvent.model_validate(event["data"]).tx_id == tx_id
    assert event.keys() == {"id", "type", "version", "timestamp", "trace", "data"}
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint.secret).verify(received.body + b" ", received.headers)


async def test_an_app_hears_of_its_own_and_of_what_it_asked_for(way: Way, app: Receiver) -> None:
    client, other = await way.client(), await way.client()
    everything = await way.endpoint(client, app.url)
    failures = await way.endpoint(client, app.url, "transaction.failed")
    others = await way.endpoint(other, app.url)
    way.happen(client)
    await way.until(everything, DELIVERED)
    assert await way.deliveries(failures) == await way.deliveries(others) == []
    assert len(app.received) == 1


@pytest.mark.parametrize(
    ("trouble", "told"),
    [(says(500), 500), (says(302, "Location: http://127.0.0.1:1/"), 302), (hangs_up, None), (talks_nonsense, None)],
    ids=["500", "redirect", "hangs up", "nonsense"],
)
async def test_what_fails_is_tried_again_by_the_endpoints_workflow(
    way: Way, app: Receiver, trouble: Behaviour, told: int | None
) -> None:
    client = await way.client()
    endpoint = await way.endpoint(client, app.url)
    app.then = [trouble, trouble]
    way.happen(client)
    (delivery,) = await way.until(endpoint, DELIVERED)
    assert delivery.attempts == 3
    assert len(set(app.ids())) == 1, "it is the same event each time"
    first, second, last = await way.errors(endpoint, delivery)
    assert (first, second, last) == ((told, told, 200) if told else (first, first, 200))
    assert isinstance(first, int) == bool(told)
    await way.over(endpoint)
    assert (await way.endpoints.one(client, endpoint.endpoint_id)).failures == 0


async def test_what_never_arrives_is_given_up_and_can_be_sent_again(way: Way, app: Receiver) -> None:
    client = await way.client()
    endpoint = await way.endpoint(client, app.url)
    app.always = says(503)
    way.happen(client)
    (delivery,) = await way.until(endpoint, FAILED)
    assert await way.errors(endpoint, delivery) == [503] * 4
    app.always = says(202)
    (position,) = await way.records.send_again(client, endpoint.endpoint_id, after=None, since=None, missed=True)
    (delivery,) = await way.until(endpoint, DELIVERED)
    assert await way.errors(endpoint, delivery) == [503] * 4 + [202]
    again = {"since": None, "missed": True}
    assert await way.records.send_again(client, endpoint.endpoint_id, after=None, **again) == []
    assert await way.records.send_again(client, endpoint.endpoint_id, after=position, since=None, missed=False) == []
    assert len(await way.records.send_again(client, endpoint.endpoint_id, after=None, since=None, missed=False)) == 1
    await way.until(endpoint, DELIVERED)
    assert len(app.received) == 6


async def test_an_endpoint_that_fails_rests_and_gets_all_of_it_afterwards(way: Way, app: Receiver) -> None:
    client = await way.client()
    endpoint = await way.endpoint(client, app.url)
    resting = "failures = 5, failing_since = now(), resting_until = now() + interval '1 day'"
    way.set(endpoint, ENDPOINTS, resting)
    way.happen(client, 30)
    await way.until(endpoint, *[RETRYING] * 30)
    assert app.received == []
    way.set(endpoint, ENDPOINTS, "resting_until = now()")
    first = "id = (SELECT min(id) FROM webhooks.deliveries d WHERE d.endpoint_id = deliveries.endpoint_id)"
    way.set(endpoint, DELIVERIES, f"due_at = CASE WHEN {first} THEN now() ELSE now() + interval '1 day' END")
    await way.temporal.get_workflow_handle(retries_workflow_id(endpoint.endpoint_id)).signal("more")
    await way.until(endpoint, *[DELIVERED] * 30)
    assert len(app.received) == len(set(app.ids())) == 30


async def test_one_that_is_gone_is_disabled_at_once(way: Way, app: Receiver) -> None:
    client = await way.client()
    endpoint = await way.endpoint(client, app.url)
    app.always = says(410)
    way.happen(client)
    await way.until(endpoint, FAILED)
    found = await way.endpoints.one(client, endpoint.endpoint_id)
    assert (found.status, found.disabled_reason) == (EndpointStatus.DISABLED, "it answered 410 Gone")
    assert len(app.received) == 1


async def test_a_rotated_secret_signs_with_the_one_before(way: Way, app: Receiver) -> None:
    client = await way.client()
    before = await way.endpoint(client, app.url)
    key = new_record()
    after, replayed = await way.endpoints.rotate(client, before.endpoint_id, key)
    assert not replayed
    assert (await way.endpoints.rotate(client, before.endpoint_id, key)) == (after, True)
    assert after.secret != before.secret
    way.happen(client)
    await way.until(before, DELIVERED)
    for secret in (before.secret, after.secret):
        Webhook(secret).verify(app.received[0].body, app.received[0].headers)
    way.set(before, ENDPOINTS, "previous_until = now()")
    way.happen(client)
    await way.until(before, DELIVERED, DELIVERED)
    Webhook(after.secret).verify(app.received[1].body, app.received[1].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(before.secret).verify(app.received[1].body, app.received[1].headers)


async def test_endpoints_that_hang_harm_nobody_else(way: Way, app: Receiver) -> None:
    async with receiving() as stuck:
        stuck.always = hangs
        client = await way.client()
        for _ in range(5):
            await way.endpoint(client, stuck.url)
        endpoint = await way.endpoint(client, app.url)
        way.happen(client, 20)
        await way.until(endpoint, *[DELIVERED] * 20)
        assert stuck.received, "they were being sent to meanwhile"
        # What hangs would be waited for when all of this ends.
        for each in await way.endpoints.all(client):
            await way.endpoints.change(client, each.endpoint_id, EndpointWish(status=EndpointStatus.DISABLED))


async def test_a_removed_endpoint_is_sent_nothing_more(way: Way, app: Receiver) -> None:
    client = await way.client()
    endpoint = await way.endpoint(client, app.url)
    app.always = says(500)
    way.happen(client)
    await way.until(endpoint, RETRYING)
    await way.endpoints.remove(client, endpoint.endpoint_id)
    assert await way.deliveries(endpoint) == []
    await way.over(endpoint)


async def test_a_ping_goes_to_one_endpoint(way: Way, app: Receiver) -> None:
    client = await way.client()
    endpoint, other = await way.endpoint(client, app.url, "transaction.failed"), await way.endpoint(client, app.url)
    event_id = await way.records.ping(client, endpoint.endpoint_id)
    await way.until(endpoint, DELIVERED)
    assert app.received[0].event["type"] == PING
    assert app.ids() == [event_id]
    assert await way.deliveries(other) == []


async def test_events_older_than_an_endpoint_are_not_sent_to_it(way: Way, app: Receiver) -> None:
    client = await way.client()
    first = await way.endpoint(client, app.url)
    way.happen(client)
    await way.until(first, DELIVERED)
    second = await way.endpoint(client, app.url)
    assert await way.deliveries(second) == []
    way.happen(client)
    await way.until(second, DELIVERED)


async def test_old_messages_are_forgotten(way: Way, app: Receiver) -> None:
    client = await way.client()
    endpoint = await way.endpoint(client, app.url)
    way.happen(client, 3)
    first, *_ = await way.until(endpoint, *[DELIVERED] * 3)
    old = "created_at = now() - interval '31 days' WHERE event_id = %s"
    with psycopg.connect(way.settings.shard_urls[0], autocommit=True) as connection:
        connection.execute(f"UPDATE webhooks.messages SET {old}".encode(), [first.event_id.uuid])
    assert await open_deliverer(way.settings, way.engine).deliveries.forget(30, 100) == 1
    assert len(await way.deliveries(endpoint)) == 2


@pytest.mark.parametrize("behaviour", [hangs, drips, never_ends], ids=["hangs", "drips", "never ends"])
async def test_an_answer_takes_a_bounded_time_and_room(app: Receiver, behaviour: Behaviour) -> None:
    app.always = behaviour
    egress = Egress(allow_private=True, longest_seconds=0.5)
    if behaviour is never_ends:
        assert (await egress.post(app.url, {"Host": "127.0.0.1"}, b"{}")).status == 200
    else:
        with pytest.raises(EgressFailed, match="no whole answer within"):
            await egress.post(app.url, {"Host": "127.0.0.1"}, b"{}")
    await egress.aclose()


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    egress = Egress(allow_private=True)
    _, context = certified(tmp_path, "127.0.0.1")
    async with receiving(context) as liar:
        with pytest.raises(EgressFailed, match="certificate"):
            await egress.post(liar.url, {"Host": "127.0.0.1"}, b"{}")
        assert liar.received == []
    await egress.aclose()


PRIVATE = ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "2130706433")


@pytest.mark.parametrize("host", PRIVATE)
async def test_private_addresses_are_refused_whatever_they_are_called(app: Receiver, host: str) -> None:
    egress = Egress()
    with pytest.raises(EgressFailed, match=r"not a public one|not known"):
        await egress.post(f"http://{host}:{app.port}/", {"Host": host}, b"{}")
    assert app.received == []
    await egress.aclose()
