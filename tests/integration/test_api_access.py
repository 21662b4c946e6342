"""Who may do what: keys, scopes, tenancy; and what is never told."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import event

from api import security
from api.security import KeyRing
from domain.errors import Unauthenticated
from ledger.directory import Scope, hash_key
from tests.integration.test_api_bad_input import demand_problem
from tests.rest.stage import Stage, new_key


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer sk_unknown", "Basic c2s6", "sk_unknown", "Bearer " + "k" * 300],
)
async def test_without_a_good_key_there_is_nothing(rest: Stage, header: str | None) -> None:
    stranger = rest.caller(None)
    headers = {"Authorization": header} if header is not None else {}
    for response in (
        await stranger.http.get("/v1/transactions/txn_" + "0" * 32, headers=headers),
        await stranger.http.post("/v1/transfers", json={}, headers={**headers, "Idempotency-Key": new_key()}),
    ):
        demand_problem(response, 401, "unauthenticated")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_key_is_kept_as_a_hash_only(rest: Stage) -> None:
    keys = await rest.backends.directory.keys()
    assert hash_key(rest.app_key).hex().startswith(next(key.key_id for key in keys if key.name == "tests"))
    assert all(rest.app_key not in repr(key) for key in keys)


async def test_a_revoked_key_ends_within_its_time(rest: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "REMEMBER_SECONDS", 0.0)
    plaintext = await rest.backends.directory.create_key(rest.client_id, Scope.APP, "to be revoked")
    caller = rest.caller(plaintext)
    path = f"/v1/users/{(await rest.person()).user_id}"
    assert (await caller.get(path)).status_code == 200
    assert await rest.backends.directory.revoke_key(hash_key(plaintext).hex()[:16])
    demand_problem(await caller.get(path), 401, "unauthenticated")
    assert not await rest.backends.directory.revoke_key(hash_key(plaintext).hex()[:16])


@contextmanager
def key_look_ups(rest: Stage) -> Iterator[list[str]]:
    """What the database is asked about keys meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "api_keys" in statement:
            seen.append(statement)

    engine = rest.backends.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def test_a_key_that_hundreds_come_with_at_once_is_looked_up_once(rest: Stage) -> None:
    ring = KeyRing(rest.backends.directory)
    with key_look_ups(rest) as seen:
        callers = await asyncio.gather(*(ring.caller(rest.app_key) for _ in range(200)))
    assert {caller.client_id for caller in callers} == {rest.client_id}
    assert len(seen) == 1


async def test_a_bad_key_that_hundreds_come_with_is_asked_about_anew_the_next_time(rest: Stage) -> None:
    ring = KeyRing(rest.backends.directory)
    for _ in range(2):
        with key_look_ups(rest) as seen:
            refused = await asyncio.gather(*(ring.caller("sk_unknown") for _ in range(200)), return_exceptions=True)
        assert {type(error) for error in refused} == {Unauthenticated}
        assert len(seen) == 1


async def test_a_caller_who_goes_away_does_not_take_the_look_up_from_the_others(rest: Stage) -> None:
    ring = KeyRing(rest.backends.directory)
    first, second = (asyncio.create_task(ring.caller(rest.app_key)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).client_id == rest.client_id


async def test_apps_do_not_do_what_operators_do_and_operators_do_not_pay(rest: Stage) -> None:
    sender, receiver = await rest.funded(500), await rest.person()
    demand_problem(await rest.app.post(f"/v1/wallets/{sender.wallet_id}/freeze", {}), 403, "forbidden")
    demand_problem(await rest.operator.post("/v1/transfers", rest.transfer_body(sender, receiver)), 403, "forbidden")
    demand_problem(await rest.operator.post("/v1/users", {"name": "A", "email": "a@b"}), 403, "forbidden")
    assert await rest.posted(sender) == 500


async def test_another_clients_resources_do_not_exist(rest: Stage) -> None:
    person = await rest.funded(500)
    paid = await rest.app.post("/v1/transfers", rest.transfer_body(person, await rest.person()))
    paths = [
        paid.headers["Location"],
        f"/v1/wallets/{person.wallet_id}",
        f"/v1/wallets/{person.wallet_id}/entries",
        f"/v1/wallets/{person.wallet_id}/transactions",
        f"/v1/users/{person.user_id}",
        f"/v1/bank-accounts/{person.bank_account_id}",
    ]
    for path in paths:
        assert (await rest.app.get(path)).status_code == 200, path
        demand_problem(await rest.other.get(path), 404, "not_found")
    demand_problem(await rest.other.post(f"{paid.headers['Location']}/cancel", {}), 404, "not_found")
    for path in paths[:4]:
        assert (await rest.operator.get(path)).status_code == 200, path


async def test_the_same_key_of_two_clients_is_two_keys(rest: Stage) -> None:
    key, body = new_key(), {"name": "Ada", "email": "ada@example.com"}
    mine, theirs = await rest.app.post("/v1/users", body, key), await rest.other.post("/v1/users", body, key)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["user_id"] != theirs.json()["user_id"]


async def test_an_account_token_is_never_answered(rest: Stage) -> None:
    person = await rest.linked()
    account = await rest.app.get(f"/v1/bank-accounts/{person.bank_account_id}")
    assert set(account.json()) == {
        "bank_account_id",
        "user_id",
        "bank",
        "holder_name",
        "mask",
        "status",
        "status_since",
        "created_at",
    }


async def test_the_callers_request_id_is_used_if_it_is_sane(rest: Stage) -> None:
    async def answered(offered: str) -> str:
        response: httpx.Response = await rest.app.http.get("/livez", headers={"X-Request-Id": offered})
        return str(response.headers["X-Request-Id"])

    assert await answered("my-request.0001") == "my-request.0001"
    for insane in ("short", "x" * 129, 'quote"injected-here', "semi;colon-injected"):
        assert (await answered(insane)).startswith("req_")


async def test_health(rest: Stage) -> None:
    stranger = rest.caller(None)
    assert (await stranger.get("/livez")).json() == {"status": "ok"}
    ready = await stranger.get("/readyz")
    assert ready.json()["status"] == "ready", ready.text
    assert set(ready.json()["checks"]) == {"ledger", "temporal", "redis", "bank:simulator", "transfer_worker"}


async def test_metrics_count_requests_by_route(rest: Stage) -> None:
    person = await rest.person()
    await rest.app.get(f"/v1/users/{person.user_id}")
    found = (await rest.caller(None).get("/metrics")).text
    assert 'sagapay_http_requests_total{method="GET",route="/v1/users/{user_id}",status="200"}' in found
    assert person.user_id not in found


async def test_a_problems_type_leads_to_a_page(rest: Stage) -> None:
    as_json = await rest.app.get("/problems/insufficient_funds")
    assert as_json.json()["meaning"].startswith("The available balance")
    page = await rest.app.http.get("/problems/not_found", headers={"Accept": "text/html"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<h1>Not found</h1>" in page.text
