"""Holds over the API: authorise, capture in parts, release; keys, refusals, tenancy and pages."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from temporalio.service import RPCError

from domain.contracts.holds import EXPIRE_HOLDS_SCHEDULE, EXPIRE_HOLDS_WORKFLOW, ExpiryReport
from domain.contracts.payments import OPERATIONS_QUEUE
from domain.contracts.workflows import SWEEP_SCHEDULE
from domain.ids import WalletId
from infra.schedules import ensure_schedules
from tests.money.holds import HOUR, place
from tests.money.requests import Client
from tests.rest.stage import Person, Stage, new_key

JsonObject = dict[str, Any]


def hold_body(person: Person, amount: object = 400, **more: object) -> JsonObject:
    """The body of a hold."""
    return {"wallet_id": person.wallet_id, "amount": amount, "currency": "USD", **more}


async def placed(rest: Stage, person: Person, amount: int = 400, **more: object) -> JsonObject:
    """A hold that is active."""
    response = await rest.app.post("/v1/holds", hold_body(person, amount, **more))
    assert response.status_code == 202, response.text
    found: JsonObject = response.json()
    assert found["status"] == "active"
    return found


async def balance(rest: Stage, person: Person) -> tuple[int, int]:
    """Posted and held."""
    found = (await rest.app.get(f"/v1/wallets/{person.wallet_id}")).json()["balance"]
    return found["posted"], found["held"]


def code_of(response: httpx.Response) -> tuple[int, str]:
    """Status and problem code."""
    return response.status_code, response.json()["code"]


async def test_authorise_and_capture_in_parts(rest: Stage) -> None:
    diner, shop = await rest.funded(1_000), await rest.person()
    response = await rest.app.post("/v1/holds", hold_body(diner, memo="A table for two"))
    hold = response.json()
    assert (response.status_code, hold["amount"], hold["captured"], hold["remaining"]) == (202, 400, 0, 400)
    assert response.headers["Location"] == f"/v1/holds/{hold['hold_id']}"
    assert datetime.fromisoformat(hold["expires_at"]) - datetime.fromisoformat(hold["effective_at"]) == timedelta(
        days=7
    )
    assert await balance(rest, diner) == (1_000, 400)
    path = f"{response.headers['Location']}/captures"
    first = await rest.app.post(path, {"receiver_id": shop.user_id, "amount": 150, "memo": "Starters"})
    paid = first.json()
    assert (first.status_code, paid["kind"], paid["status"], paid["amount"]) == (202, "transfer", "succeeded", 150)
    assert (paid["hold_id"], paid["sender_id"]) == (hold["hold_id"], diner.wallet_id)
    detail = (await rest.app.get(first.headers["Location"])).json()
    assert [item["step"] for item in detail["timeline"]] == ["capture_hold"]
    rest_of_it = await rest.app.post(path, {"receiver_id": shop.wallet_id})
    assert (rest_of_it.json()["amount"], rest_of_it.json()["status"]) == (250, "succeeded")
    ended = (await rest.app.get(response.headers["Location"])).json()
    assert (ended["status"], ended["captured"], ended["remaining"]) == ("captured", 400, 0)
    assert (await balance(rest, diner), await balance(rest, shop)) == ((600, 0), (400, 0))


async def test_the_final_capture_releases_the_rest(rest: Stage) -> None:
    diner, shop = await rest.funded(1_000), await rest.person()
    hold = await placed(rest, diner)
    path = f"/v1/holds/{hold['hold_id']}"
    await rest.app.post(f"{path}/captures", {"receiver_id": shop.wallet_id, "amount": 90, "final": True})
    assert await balance(rest, diner) == (910, 0)
    late = (await rest.app.post(f"{path}/captures", {"receiver_id": shop.wallet_id, "amount": 1})).json()
    assert (late["status"], late["failure"]["code"]) == ("failed", "hold_ended")
    assert code_of(await rest.app.post(f"{path}/release", {})) == (409, "cannot_release")


async def test_releasing_twice_is_the_same_as_once(rest: Stage) -> None:
    diner = await rest.funded(1_000)
    hold = await placed(rest, diner)
    path = f"/v1/holds/{hold['hold_id']}/release"
    for caller in (rest.app, rest.app, rest.operator):
        released = await caller.post(path, {})
        assert (released.status_code, released.json()["status"]) == (200, "released")
    assert await balance(rest, diner) == (1_000, 0)


async def test_what_cannot_be_held_or_captured_is_recorded_under_its_key(rest: Stage) -> None:
    diner, shop = await rest.funded(1_000), await rest.person()
    key = new_key()
    failed = [await rest.app.post("/v1/holds", hold_body(diner, 1_001), key) for _ in range(2)]
    assert [response.status_code for response in failed] == [202, 202]
    assert failed[0].json() == failed[1].json()
    assert failed[0].json()["failure"]["code"] == "insufficient_funds"
    assert [response.headers.get("Idempotent-Replayed") for response in failed] == [None, "true"]
    hold = await placed(rest, diner, 100)
    body = {"receiver_id": shop.wallet_id, "amount": 101}
    captures = [await rest.app.post(f"/v1/holds/{hold['hold_id']}/captures", body, key=key + "x") for _ in range(2)]
    assert captures[0].json()["transaction_id"] == captures[1].json()["transaction_id"]
    assert captures[0].json()["failure"]["code"] == "hold_exceeded"
    assert await balance(rest, diner) == (1_000, 100)


async def test_a_key_holds_once_captures_once_and_nothing_else(rest: Stage) -> None:
    diner, shop = await rest.funded(1_000), await rest.person()
    key = new_key()
    first, again = [await rest.app.post("/v1/holds", hold_body(diner), key) for _ in range(2)]
    assert first.json() == again.json()
    assert code_of(await rest.app.post("/v1/holds", hold_body(diner, 1), key)) == (422, "idempotency_key_reused")
    transfer = rest.transfer_body(diner, shop)
    assert code_of(await rest.app.post("/v1/transfers", transfer, key)) == (422, "idempotency_key_reused")
    path, capturing = f"/v1/holds/{first.json()['hold_id']}/captures", new_key()
    body = {"receiver_id": shop.wallet_id}
    taken = [await rest.app.post(path, body, capturing) for _ in range(2)]
    assert taken[0].json()["transaction_id"] == taken[1].json()["transaction_id"]
    assert taken[1].headers["Idempotent-Replayed"] == "true"
    assert await balance(rest, diner) == (600, 0)
    assert (await rest.app.post("/v1/holds", hold_body(diner), key)).json()["status"] == "captured"


async def test_a_time_says_when_a_hold_ends(rest: Stage) -> None:
    diner, now = await rest.funded(1_000), datetime.now(UTC)
    tomorrow = (now + timedelta(days=1)).replace(microsecond=0)
    hold = await placed(rest, diner, 1, expires_at=tomorrow.astimezone().isoformat())
    assert datetime.fromisoformat(hold["expires_at"]) == tomorrow
    hold = await placed(rest, diner, 1, expires_in_seconds=60)
    lasts = datetime.fromisoformat(hold["expires_at"]) - datetime.fromisoformat(hold["effective_at"])
    assert lasts == timedelta(seconds=60)


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "9999-12-31T23:59:59-12:00"},
        {"expires_at": "2999-01-01T00:00:00Z"},
        {"expires_at": "2030-02-30T00:00:00Z"},
        {"expires_at": "2030-02-03"},
        {"expires_at": "2030-02-03T00:00:00"},
        {"expires_at": 1_900_000_000},
        {"expires_in_seconds": 0},
        {"expires_in_seconds": 366 * 86_400 + 1},
        {"expires_in_seconds": 1.5},
        {"expires_in_seconds": "60"},
        {"expires_in_seconds": True},
        {"expires_in_seconds": 60, "expires_at": "2030-01-01T00:00:00Z"},
        {"amount": 0},
        {"amount": 1.0},
        {"amount": None},
        {"currency": "XXX"},
        {"wallet_id": "wal_1"},
        {"memo": "x" * 201},
        {"receiver_id": "wal_1"},
    ],
    ids=str,
)
async def test_a_hold_of_another_form_is_refused_and_its_key_stays_free(rest: Stage, wrong: JsonObject) -> None:
    diner, key = await rest.person(), new_key()
    refused = await rest.app.post("/v1/holds", hold_body(diner, 1) | wrong, key)
    assert refused.status_code == 400, refused.text
    assert (await rest.app.post("/v1/holds", hold_body(diner, 1), key)).status_code == 202


async def test_captures_of_another_form_are_refused(rest: Stage) -> None:
    diner, shop = await rest.funded(1_000), await rest.person()
    hold = await placed(rest, diner)
    path = f"/v1/holds/{hold['hold_id']}/captures"
    right = {"receiver_id": shop.wallet_id, "amount": 1}
    for wrong in (
        {"amount": 0},
        {"amount": "1"},
        {"final": "yes"},
        {"final": 1},
        {"receiver_id": "x"},
        {"currency": "USD"},
    ):
        refused = await rest.app.post(path, right | wrong)
        assert refused.status_code == 400, refused.text
    assert code_of(await rest.app.post(path, {"receiver_id": diner.user_id})) == (400, "self_transfer")
    assert code_of(await rest.app.post(path, right, key="")) == (400, "idempotency_key_missing")
    assert code_of(await rest.app.post("/v1/holds/hld_1/captures", right)) == (400, "invalid_id")
    assert await balance(rest, diner) == (1_000, 400)


async def test_another_clients_holds_do_not_exist(rest: Stage) -> None:
    diner, shop = await rest.funded(1_000), await rest.person()
    hold = await placed(rest, diner)
    path, nobodys = f"/v1/holds/{hold['hold_id']}", f"/v1/holds/hld_{'0' * 32}"
    for where in (path, nobodys):
        capture = await rest.other.post(f"{where}/captures", {"receiver_id": shop.wallet_id})
        release = await rest.other.post(f"{where}/release", {})
        assert {code_of(answer) for answer in (await rest.other.get(where), capture, release)} == {(404, "not_found")}
    assert code_of(await rest.other.post("/v1/holds", hold_body(diner))) == (404, "not_found")
    assert code_of(await rest.other.get(f"/v1/wallets/{diner.wallet_id}/holds")) == (404, "not_found")
    assert (await rest.operator.get(path)).status_code == 200
    assert code_of(await rest.operator.post("/v1/holds", hold_body(diner))) == (403, "forbidden")
    assert code_of(await rest.operator.post(f"{path}/captures", {"receiver_id": shop.wallet_id})) == (403, "forbidden")


async def test_a_wallets_holds_come_in_pages_newest_first(rest: Stage) -> None:
    diner = await rest.funded(1_000)
    ids = [(await placed(rest, diner, amount))["hold_id"] for amount in (1, 2, 3)]
    path, found, cursor = f"/v1/wallets/{diner.wallet_id}/holds", [], {}
    while True:
        page = (await rest.app.get(path, limit=2, **cursor)).json()
        found += [hold["hold_id"] for hold in page["holds"]]
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == ids[::-1]
    assert code_of(await rest.app.get(path, cursor="bm90aGluZw")) == (400, "invalid_cursor")


async def test_the_scheduled_workflow_ends_holds_whose_time_has_come(rest: Stage) -> None:
    with suppress(RPCError):  # A worker that another test has run here leaves one, which would be quicker at times.
        await rest.temporal.get_schedule_handle(EXPIRE_HOLDS_SCHEDULE).delete()
    diner = await rest.funded(1_000)
    held = await placed(rest, diner, 100)
    app = Client(rest.backends.ledger, client_id=rest.client_id)
    overdue = await place(app, WalletId.parse(diner.wallet_id), 300, life=-HOUR)
    assert await balance(rest, diner) == (1_000, 400)
    report = await rest.temporal.execute_workflow(
        EXPIRE_HOLDS_WORKFLOW, id=f"expire-{new_key()}", task_queue=OPERATIONS_QUEUE, result_type=ExpiryReport
    )
    assert report.due >= 1
    assert (await rest.app.get(f"/v1/holds/{overdue.hold_id}")).json()["status"] == "expired"
    assert (await rest.app.get(f"/v1/holds/{held['hold_id']}")).json()["status"] == "active"
    assert await balance(rest, diner) == (1_000, 100)


async def test_the_schedules_are_made_once_and_follow_the_settings(rest: Stage) -> None:
    day = 86_400.0
    names = (EXPIRE_HOLDS_SCHEDULE, SWEEP_SCHEDULE)
    try:
        for seconds in (day, 2 * day):
            changed = {"expiry_interval_seconds": seconds, "sweep_interval_seconds": seconds}
            await ensure_schedules(rest.temporal, rest.settings.model_copy(update=changed), [])
            for name in names:
                (interval,) = (await rest.temporal.get_schedule_handle(name).describe()).schedule.spec.intervals
                assert interval.every == timedelta(seconds=seconds)
    finally:
        for name in names:
            await rest.temporal.get_schedule_handle(name).delete()
