"""Bad input: each kind a documented code, and nothing half-done."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from temporalio.service import RPCError, RPCStatusCode

from api.catalogue import CATALOGUE
from domain.contracts.workflows import payment_workflow_id
from domain.ids import TransactionId, UserId, WalletId
from infra.database import reading
from tests.rest.stage import Person, Stage, new_key

TRANSFERS = "/v1/transfers"
JSON = {"Content-Type": "application/json"}
_COUNTS = text("""
    SELECT (SELECT count(*) FROM ledger.transactions), (SELECT count(*) FROM ledger.idempotency_keys),
           (SELECT count(*) FROM ledger.ledger_entries), (SELECT count(*) FROM ledger.holds),
           (SELECT count(*) FROM directory.request_keys)
""")

AMOUNTS = {
    "negative": -1,
    "zero": 0,
    "too large": 10**12 + 1,
    "far too large": 10**30,
    "float": 1.5,
    "whole float": 100.0,
    "string": "100",
    "bool": True,
    "null": None,
    "list": [100],
}
CHANGES: dict[str, tuple[dict[str, Any], int, str]] = {
    **{f"{name} amount": ({"amount": amount}, 400, "invalid_amount") for name, amount in AMOUNTS.items()},
    "unknown currency": ({"currency": "XXX"}, 400, "unknown_currency"),
    "lower-case currency": ({"currency": "usd"}, 400, "unknown_currency"),
    "currency of another type": ({"currency": 840}, 400, "unknown_currency"),
    "malformed receiver": ({"receiver_id": "wal_42"}, 400, "invalid_id"),
    "receiver of another noun": ({"receiver_id": TransactionId.new(1)}, 400, "invalid_id"),
    "receiver of another type": ({"receiver_id": 42}, 400, "invalid_id"),
    "unknown receiver": ({"receiver_id": WalletId.new(7)}, 404, "not_found"),
    "unknown user": ({"receiver_id": UserId.new(7)}, 404, "not_found"),
    "unknown sender": ({"sender_id": WalletId.new(7)}, 404, "not_found"),
    "unknown field": ({"colour": "blue"}, 400, "invalid_request"),
    "memo with a NUL": ({"memo": "a\x00b"}, 400, "invalid_request"),
    "memo too long": ({"memo": "m" * 201}, 400, "invalid_request"),
    "two things wrong": ({"amount": -1, "currency": "XXX"}, 400, "invalid_request"),
}


async def counts(rest: Stage) -> tuple[int, ...]:
    """How many transactions, keys, entries, holds and request keys there are."""
    async with reading(rest.backends.engine) as connection:
        return tuple((await connection.execute(_COUNTS)).one())


@pytest.fixture
async def pair(rest: Stage) -> AsyncIterator[tuple[Person, Person]]:
    """A sender with 5,000 and a receiver. After the test nothing may have moved, been recorded or been started."""
    sender, receiver = await rest.funded(5_000), await rest.person()
    before = await counts(rest)
    yield sender, receiver
    assert await counts(rest) == before
    assert (await rest.posted(sender), await rest.posted(receiver)) == (5_000, 0)


def demand_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check a problem from head to foot."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"/problems/{code}")
    assert CATALOGUE[code].status == status
    assert problem["trace_id"] == response.headers["X-Request-Id"]
    assert problem["detail"]
    return problem


async def demand_no_workflow(rest: Stage, person: Person, key: str) -> None:
    """Nothing was started under the key."""
    name = payment_workflow_id(rest.client_id, WalletId(person.wallet_id), key)
    with pytest.raises(RPCError) as missing:
        await rest.temporal.get_workflow_handle(name).describe()
    assert missing.value.status is RPCStatusCode.NOT_FOUND


@pytest.mark.parametrize("name", CHANGES)
async def test_a_transfer_with_one_thing_wrong(rest: Stage, pair: tuple[Person, Person], name: str) -> None:
    change, status, code = CHANGES[name]
    key = new_key()
    response = await rest.app.post(TRANSFERS, rest.transfer_body(*pair) | change, key)
    problem = demand_problem(response, status, code)
    if status == 400:
        assert {item["field"] for item in problem["errors"]} == set(change)
    await demand_no_workflow(rest, pair[0], key)


@pytest.mark.parametrize("missing", ["sender_id", "receiver_id", "amount", "currency"])
async def test_a_transfer_with_a_field_missing(rest: Stage, pair: tuple[Person, Person], missing: str) -> None:
    body = rest.transfer_body(*pair)
    del body[missing]
    demand_problem(await rest.app.post(TRANSFERS, body), 400, "invalid_request")


async def test_a_transfer_to_oneself(rest: Stage, pair: tuple[Person, Person]) -> None:
    sender, _ = pair
    for receiver_id in (sender.wallet_id, sender.user_id):
        body = rest.transfer_body(sender, sender) | {"receiver_id": receiver_id}
        demand_problem(await rest.app.post(TRANSFERS, body), 400, "self_transfer")


@pytest.fixture
async def stranger(rest: Stage) -> Person:
    """A user of another client."""
    return await rest.person(rest.other)


async def test_a_transfer_of_or_to_another_clients_wallet(
    rest: Stage, stranger: Person, pair: tuple[Person, Person]
) -> None:
    demand_problem(await rest.app.post(TRANSFERS, rest.transfer_body(pair[0], stranger)), 404, "not_found")
    demand_problem(await rest.app.post(TRANSFERS, rest.transfer_body(stranger, pair[0])), 404, "not_found")
    demand_problem(await rest.other.post(TRANSFERS, rest.transfer_body(*pair)), 404, "not_found")


@pytest.mark.parametrize(
    ("header", "in_body", "code"),
    [
        (None, None, "idempotency_key_missing"),
        ("", None, "idempotency_key_invalid"),
        ("with space", None, "idempotency_key_invalid"),
        ("k" * 256, None, "idempotency_key_invalid"),
        ("caf\u00e9", None, "idempotency_key_invalid"),
        (None, "", "idempotency_key_invalid"),
        (None, "with\ttab", "idempotency_key_invalid"),
        (None, "k" * 256, "idempotency_key_invalid"),
        (None, 42, "idempotency_key_invalid"),
        ("one", "another", "idempotency_key_invalid"),
    ],
)
async def test_a_bad_or_missing_key(
    rest: Stage, pair: tuple[Person, Person], header: str | None, in_body: object, code: str
) -> None:
    body = rest.transfer_body(*pair) | ({"idempotency_key": in_body} if in_body is not None else {})
    headers = {"Idempotency-Key": header.encode("latin-1")} if header is not None else {}
    response = await rest.app.http.post(TRANSFERS, json=body, headers=headers)
    demand_problem(response, 400, code)


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_64_kib_is_read_and_one_byte_more_is_not(
    rest: Stage, pair: tuple[Person, Person], size: int, chunked: bool
) -> None:
    content = json.dumps(rest.transfer_body(*pair) | {"amount": 0}).encode()
    content += b" " * (size - len(content))

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 10_000):
            yield content[start : start + 10_000]

    headers = {**JSON, "Idempotency-Key": new_key()}
    sent = pieces() if chunked else content
    response = await rest.app.http.post(TRANSFERS, content=sent, headers=headers)
    if size > 64 * 1024:
        demand_problem(response, 413, "body_too_large")
    else:
        demand_problem(response, 400, "invalid_amount")


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"[]", b'"text"', b"null", b"\xff\xfe", b'{"amount": NaN}', b'{"memo": "\\ud800"}', b"[" * 30_000],
)
async def test_broken_json(rest: Stage, pair: tuple[Person, Person], content: bytes) -> None:
    headers = {**JSON, "Idempotency-Key": new_key()}
    response = await rest.app.http.post(TRANSFERS, content=content, headers=headers)
    demand_problem(response, 400, "invalid_request")


@pytest.mark.parametrize("sent", ["text/plain", "application/xml", "", "application/jsonp"])
async def test_a_body_of_another_type(rest: Stage, pair: tuple[Person, Person], sent: str) -> None:
    content = json.dumps(rest.transfer_body(*pair)).encode()
    headers = {"Content-Type": sent, "Idempotency-Key": new_key()}
    response = await rest.app.http.post(TRANSFERS, content=content, headers=headers)
    demand_problem(response, 415, "unsupported_media_type")


async def test_a_refused_request_leaves_its_key_unused(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(500), await rest.person(), new_key()
    refused = await rest.app.post(TRANSFERS, rest.transfer_body(sender, receiver, 0), key)
    demand_problem(refused, 400, "invalid_amount")
    paid = await rest.app.post(TRANSFERS, rest.transfer_body(sender, receiver, 100), key)
    assert paid.json()["status"] == "succeeded"


@pytest.mark.parametrize("route", ["/v1/deposits", "/v1/withdrawals"])
async def test_bank_payments_with_something_wrong(rest: Stage, route: str) -> None:
    person, other = await rest.linked(), await rest.linked()
    before = await counts(rest)
    good = rest.bank_body(person)
    for change, status, code in (
        ({"amount": "100"}, 400, "invalid_amount"),
        ({"currency": "XXX"}, 400, "unknown_currency"),
        ({"wallet_id": person.user_id}, 400, "invalid_id"),
        ({"bank_account_id": "ba_1"}, 400, "invalid_id"),
        ({"bank_account_id": other.bank_account_id}, 404, "not_found"),
        ({"wallet_id": other.wallet_id}, 404, "not_found"),
        ({"wallet_id": WalletId.new(3)}, 404, "not_found"),
        ({"memo": "not here"}, 400, "invalid_request"),
    ):
        key = new_key()
        demand_problem(await rest.app.post(route, good | change, key), status, code)
        await demand_no_workflow(rest, person, key)
    demand_problem(await rest.other.post(route, good), 404, "not_found")
    assert await counts(rest) == before


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "n" * 101},
        {"name": "a\nb"},
        {"email": "nobody"},
        {"email": "a@b@c"},
        {"email": "a b@c"},
        {"email": "e" * 250 + "@x.org"},
        {"handle": "Ada"},
        {"handle": "ab"},
        {"handle": 7},
        {"wallet_id": "mine"},
    ],
)
async def test_a_user_with_something_wrong(rest: Stage, change: dict[str, object]) -> None:
    before = await counts(rest)
    body = {"name": "Ada", "email": "ada@example.com"} | change
    demand_problem(await rest.app.post("/v1/users", body), 400, "invalid_request")
    assert await counts(rest) == before


async def test_a_handle_belongs_to_one_user_of_a_client(rest: Stage) -> None:
    body = {"name": "Ada", "email": "ada@example.com", "handle": f"ada{new_key()[:12]}"}
    key = new_key()
    assert (await rest.app.post("/v1/users", body)).status_code == 201
    demand_problem(await rest.app.post("/v1/users", body, key), 409, "handle_taken")
    assert (await rest.other.post("/v1/users", body)).status_code == 201
    assert (await rest.app.post("/v1/users", body | {"handle": f"ada{new_key()[:12]}"}, key)).status_code == 201


async def test_linking_with_something_wrong(rest: Stage) -> None:
    person, other = await rest.person(), await rest.person()
    links, accounts = "/v1/bank-links", "/v1/bank-accounts"
    demand_problem(await rest.app.post(links, {"user_id": UserId.new(1)}), 404, "not_found")
    demand_problem(await rest.other.post(links, {"user_id": person.user_id}), 404, "not_found")
    demand_problem(await rest.app.post(links, {"user_id": person.user_id, "bank": "nowhere"}), 400, "unknown_bank")
    unknown = {"user_id": person.user_id, "public_token": "public-unknown"}
    demand_problem(await rest.app.post(accounts, unknown), 422, "bank_link_refused")
    link = await rest.app.post(links, {"user_id": person.user_id})
    async with rest.bank.admin() as admin:
        approval = await admin.approve(link.json()["link_token"])
    stolen = {"user_id": other.user_id, "public_token": approval.public_token}
    demand_problem(await rest.app.post(accounts, stolen), 422, "bank_link_refused")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/wallets/{wallet}?consistency=perhaps", "invalid_request"),
        ("/v1/wallets/{wallet}/entries?limit=0", "invalid_request"),
        ("/v1/wallets/{wallet}/entries?limit=201", "invalid_request"),
        ("/v1/wallets/{wallet}/entries?cursor=nonsense", "invalid_cursor"),
        ("/v1/wallets/{wallet}/entries?cursor=%FF%00", "invalid_cursor"),
        ("/v1/wallets/{wallet}/entries?cursor=ZW50cmllczo5OTk5OTk5OTk5OTk5OTk5OTk5OQ", "invalid_cursor"),
        ("/v1/wallets/{wallet}/transactions?cursor=ZW50cmllczox", "invalid_cursor"),
        ("/v1/transactions/{transaction}?wait=31", "invalid_request"),
        ("/v1/transactions/{transaction}?wait=-1", "invalid_request"),
        ("/v1/transactions/txn_42", "invalid_id"),
        ("/v1/wallets/usr_42", "invalid_id"),
    ],
)
async def test_reads_with_something_wrong(rest: Stage, path: str, code: str) -> None:
    filled = path.format(wallet=WalletId.new(5), transaction=TransactionId.new(5))
    demand_problem(await rest.app.get(filled), 400, code)


async def test_what_is_not_there(rest: Stage) -> None:
    for path in (
        f"/v1/wallets/{WalletId.new(5)}",
        f"/v1/wallets/{WalletId.new(5)}/entries",
        f"/v1/wallets/{WalletId.new(5)}/transactions",
        f"/v1/transactions/{TransactionId.new(5)}",
        f"/v1/users/{UserId.new(5)}",
        "/v1/bank-accounts/ba_" + "0" * 32,
        "/v1/nothing",
        "/v1/users/",
        "/problems/unheard-of",
    ):
        demand_problem(await rest.app.get(path), 404, "not_found")
    missing = await rest.app.post(f"/v1/transactions/{TransactionId.new(5)}/cancel", {})
    demand_problem(missing, 404, "not_found")
    unknown = f"/v1/wallets/{WalletId.new(5)}"
    demand_problem(await rest.operator.post(f"{unknown}/freeze", {"reason": "A test"}), 404, "not_found")


async def test_a_method_that_is_not_there(rest: Stage) -> None:
    response = await rest.app.http.delete(TRANSFERS)
    demand_problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "POST"


async def test_a_query_parameter_that_is_not_there(rest: Stage) -> None:
    person = await rest.person()
    response = await rest.app.get(f"/v1/wallets/{person.wallet_id}/entries?limt=5")
    demand_problem(response, 400, "invalid_request")
    assert "'limt'" in response.json()["detail"]
