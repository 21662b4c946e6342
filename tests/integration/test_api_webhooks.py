"""Webhook endpoints in the API: made, changed, removed by their owner alone; what they were sent is to be seen."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text

from domain.ids import EventId, WebhookEndpointId, random_bucket
from domain.webhooks import DeliveryStatus, EndpointStatus
from events.webhook_deliveries import Attempt
from events.webhook_records import MOST_SENT_AGAIN
from events.webhook_sender import open_deliverer
from infra.database import transaction
from ledger.directory import Scope
from ledger.webhook_endpoints import MOST_ENDPOINTS
from tests.rest.stage import Caller, Stage, new_key

PATH = "/v1/webhook-endpoints"
URL = "https://app.example.com/sagapay"


@pytest.fixture
async def app(rest: Stage) -> Caller:
    """An app of the test's own."""
    client_id = await rest.backends.directory.create_client("webhooks")
    return rest.caller(await rest.backends.directory.create_key(client_id, Scope.APP, "webhooks"))


async def made(app: Caller, **body: object) -> dict[str, str]:
    response = await app.post(PATH, {"url": URL, **body})
    assert response.status_code == 201, response.text
    found: dict[str, str] = response.json()
    return found


_MESSAGE = text("INSERT INTO webhooks.messages (event_id, client_id, type, body) VALUES (:id, :client, :type, :body)")
_DELIVERIES = text("""
    INSERT INTO webhooks.deliveries (endpoint_id, event_id)
    SELECT endpoint_id, :id FROM directory.webhook_endpoints WHERE client_id = :client
""")


async def happened(rest: Stage, app: Caller, *kinds: str) -> list[str]:
    """Events of the app's, as the consumer writes them; nothing sends them here. Their ids, in order."""
    ids = []
    client_id = (await rest.backends.keys.caller(app.http.headers["Authorization"].split()[1])).client_id
    for kind in kinds:
        event_id = EventId.new(random_bucket())
        body = {"id": event_id, "type": kind, "version": 1, "timestamp": "2026-03-02T15:04:05Z", "data": {}}
        row = {"id": event_id.uuid, "client": client_id.uuid, "type": kind, "body": json.dumps(body)}
        async with transaction(rest.backends.engine) as connection:
            await connection.execute(_MESSAGE, row)
            await connection.execute(_DELIVERIES, row)
        ids.append(str(event_id))
    return ids


async def test_an_endpoint_from_its_beginning_to_its_end(app: Caller) -> None:
    key = new_key()
    body = {"url": URL, "event_types": ["transaction.failed", "transaction.failed"], "description": "books"}
    first = await app.post(PATH, body, key)
    assert first.status_code == 201
    endpoint = first.json()
    assert endpoint["secret"].startswith("whsec_")
    assert endpoint["event_types"] == ["transaction.failed"]
    again = await app.post(PATH, body, key)
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (endpoint, "true")
    assert (await app.post(PATH, {"url": URL + "/other"}, key)).json()["code"] == "idempotency_key_reused"
    shown = (await app.get(first.headers["Location"])).json()
    assert shown == {name: value for name, value in endpoint.items() if name != "secret"}
    assert (await app.get(PATH)).json() == {"endpoints": [shown]}
    changed = await app.http.patch(first.headers["Location"], json={"event_types": [], "status": "disabled"})
    assert changed.json() == shown | {
        "event_types": [],
        "status": "disabled",
        "disabled_reason": "its owner disabled it",
    }
    assert (await app.http.patch(first.headers["Location"], json={"status": "active"})).json()["status"] == "active"
    assert (await app.http.delete(first.headers["Location"])).status_code == 204
    assert (await app.get(first.headers["Location"])).status_code == 404
    assert (await app.post(PATH, body, key)).status_code == 404, "what was made under the key is no more"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"url": "http://app.example.com/"}, "invalid_request"),
        ({"url": "https://127.0.0.1/"}, "invalid_request"),
        ({"url": "https://[::1]/"}, "invalid_request"),
        ({"url": "https://me:secret@app.example.com/"}, "invalid_request"),
        ({"url": "https://app.example.com/#part"}, "invalid_request"),
        ({"url": "https:///nowhere"}, "invalid_request"),
        ({"url": "ftp://app.example.com/"}, "invalid_request"),
        ({"url": "https://app.example.com:99999/"}, "invalid_request"),
        ({"url": URL + "\r\nX-Bad: header"}, "invalid_request"),
        ({"url": URL, "event_types": ["transaction.exploded"]}, "invalid_request"),
        ({"url": URL, "event_types": ["entry.posted"]}, "invalid_request"),
        ({"url": URL, "secret": "mine"}, "invalid_request"),
    ],
)
async def test_what_can_never_work_is_refused_at_once(app: Caller, body: dict[str, object], code: str) -> None:
    response = await app.post(PATH, body)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert (await app.get(PATH)).json() == {"endpoints": []}


async def test_nobody_elses_endpoint_is_there(rest: Stage, app: Caller) -> None:
    endpoint = await made(app)
    path = f"{PATH}/{endpoint['endpoint_id']}"
    since = {"since": "2026-01-01T00:00:00Z"}
    answers: list[httpx.Response] = [
        await rest.other.get(path),
        await rest.other.http.patch(path, json={"status": "disabled"}),
        await rest.other.http.delete(path),
        await rest.other.post(f"{path}/rotate-secret", {}),
        await rest.other.post(f"{path}/ping", {}),
        await rest.other.post(f"{path}/replay", since),
        await rest.other.get(f"{path}/deliveries"),
        await rest.other.get(f"{path}/deliveries/evt_{'0' * 32}"),
        await app.get(f"{path}/deliveries/evt_{'0' * 32}"),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert (await rest.operator.get(PATH)).status_code == 403
    assert (await app.get(path)).json()["status"] == "active"


async def test_there_is_room_for_so_many(app: Caller) -> None:
    for _ in range(MOST_ENDPOINTS):
        await made(app)
    refused = await app.post(PATH, {"url": URL})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_endpoints")


async def test_a_secret_is_rotated_once_per_key(app: Caller) -> None:
    endpoint = await made(app)
    path, key = f"{PATH}/{endpoint['endpoint_id']}/rotate-secret", new_key()
    rotated = await app.post(path, {}, key)
    assert rotated.json()["secret"] != endpoint["secret"]
    assert (await app.post(path, {}, key)).json() == rotated.json()
    assert (await app.post(path, {})).json()["secret"] != rotated.json()["secret"]
    assert (await app.http.post(path)).json()["code"] == "idempotency_key_missing"


async def test_deliveries_and_their_attempts_are_to_be_seen(rest: Stage, app: Caller) -> None:
    endpoint = await made(app)
    path = f"{PATH}/{endpoint['endpoint_id']}/deliveries"
    ids = await happened(rest, app, *["transaction.completed"] * 5)
    deliverer = open_deliverer(rest.settings, rest.backends.engine)
    taken = {str(due.event_id): due for due in await deliverer.deliveries.take_new([])}
    assert taken.keys() >= set(ids)
    bad, good = taken[ids[0]], taken[ids[1]]
    assert await deliverer.deliveries.record(bad, Attempt(milliseconds=7, error="no connection in time")) is (
        DeliveryStatus.RETRYING
    )
    await deliverer.deliveries.record(bad, Attempt(milliseconds=8, response_status=500))
    await deliverer.deliveries.record(good, Attempt(milliseconds=9, response_status=200))
    detail = (await app.get(f"{path}/{ids[0]}")).json()
    assert (detail["status"], detail["attempts"]) == ("retrying", 2)
    tried = [(attempt.get("error"), attempt.get("response_status")) for attempt in detail["attempted"]]
    assert tried == [("no connection in time", None), (None, 500)]
    assert datetime.fromisoformat(detail["next_attempt_at"]) > datetime.fromisoformat(detail["created_at"])
    found, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await app.get(path, **query)).json()
        found += [delivery["event_id"] for delivery in page["deliveries"]]
        if (cursor := page.get("next_cursor")) is None:
            break
    assert found == ids[::-1]
    (delivered,) = (await app.get(path, status="delivered")).json()["deliveries"]
    assert delivered["event_id"] == ids[1]
    assert "next_attempt_at" not in delivered
    await deliverer.aclose()


async def test_a_feed_of_events_goes_on_where_it_ended(rest: Stage, app: Caller) -> None:
    await made(app)
    assert (await app.get("/v1/events")).json() == {"events": []}
    ids = await happened(rest, app, "wallet.opened", "transaction.completed", "wallet.frozen")
    first = (await app.get("/v1/events", limit=2)).json()
    second = (await app.get("/v1/events", limit=2, cursor=first["next_cursor"])).json()
    assert [event["id"] for page in (first, second) for event in page["events"]] == ids
    nothing = (await app.get("/v1/events", cursor=second["next_cursor"])).json()
    assert nothing == {"events": [], "next_cursor": second["next_cursor"]}
    (later,) = await happened(rest, app, "wallet.closed")
    (event,) = (await app.get("/v1/events", cursor=nothing["next_cursor"])).json()["events"]
    assert (event["id"], event["type"]) == (later, "wallet.closed")
    (only,) = (await app.get("/v1/events", type="wallet.frozen")).json()["events"]
    assert only["id"] == ids[2]
    assert (await rest.other.get("/v1/events")).json()["events"] == []
    assert (await app.get("/v1/events", cursor="x")).json()["code"] == "invalid_cursor"


async def test_events_are_sent_again_from_a_cursor_or_a_moment(rest: Stage, app: Caller) -> None:
    endpoint = await made(app, event_types=["wallet.opened"])
    path = f"{PATH}/{endpoint['endpoint_id']}"
    await happened(rest, app, "wallet.opened", "wallet.opened", "wallet.closed")
    after = (await app.get("/v1/events", limit=1)).json()["next_cursor"]
    assert (await app.post(f"{path}/replay", {"after": after})).json() == {"events": 1}
    moment = datetime.now(UTC) - timedelta(minutes=5)
    assert (await app.post(f"{path}/replay", {"since": moment.isoformat()})).json() == {"events": 2}
    later = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    assert (await app.post(f"{path}/replay", {"since": later})).json() == {"events": 0}
    for body in ({}, {"after": after, "since": later}, {"after": "nonsense"}):
        assert (await app.post(f"{path}/replay", body)).status_code == 400
    await app.http.patch(path, json={"status": "disabled"})
    for call, body in (("replay", {"after": after}), ("ping", {})):
        refused = await app.post(f"{path}/{call}", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "endpoint_disabled")
    assert MOST_SENT_AGAIN == 1000


async def test_disabled_what_waits_is_given_up(rest: Stage, app: Caller) -> None:
    endpoint = await made(app)
    path = f"{PATH}/{endpoint['endpoint_id']}"
    await happened(rest, app, "wallet.opened")
    await app.http.patch(path, json={"status": EndpointStatus.DISABLED.value})
    (delivery,) = (await app.get(f"{path}/deliveries")).json()["deliveries"]
    assert delivery["status"] == "failed"
    pinged = WebhookEndpointId.parse(endpoint["endpoint_id"])
    assert await rest.backends.webhook_records.delivery(pinged, EventId.parse(delivery["event_id"])) is not None
