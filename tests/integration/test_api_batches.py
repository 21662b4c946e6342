"""Batches over the API: paid once whatever is repeated, in order or all or none; afterwards the books are sound."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.ids import BatchId
from tests.integration.test_api_express import another_api
from tests.rest.batches import BATCHES, OPEN, batch_body, counted, demand_sound_books, finished, items
from tests.rest.stage import Person, Stage, new_key

TRANSFERS = "/v1/transfers"


@pytest.fixture(autouse=True, scope="module")
async def sound_books(rest: Stage) -> AsyncIterator[None]:
    """After all tests of this file."""
    yield
    await demand_sound_books(rest)


def demand_replay(response: httpx.Response, first: httpx.Response) -> dict[str, Any]:
    """The same batch again, marked."""
    assert (response.status_code, response.headers["Idempotent-Replayed"]) == (202, "true")
    assert response.headers["Location"] == first.headers["Location"]
    found: dict[str, Any] = response.json()
    return found


def demand_reused(response: httpx.Response) -> None:
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused"), response.text


async def test_a_batch_pays_everybody_once(rest: Stage) -> None:
    sender, first, second = await rest.funded(10_000), await rest.person(), await rest.person()
    body = batch_body(sender, [(first, 100), (second, 200), (first, 300)])
    body["transfers"][1] |= {"receiver_id": second.user_id, "memo": "Salary"}
    key = new_key()
    accepted = await rest.app.post(BATCHES, body, key)
    assert accepted.status_code == 202, accepted.text
    assert "Idempotent-Replayed" not in accepted.headers
    assert accepted.json()["status"] == "accepted"
    assert counted(accepted.json()) == (0, 0, 3)
    demand_replay(await rest.app.post(BATCHES, body, key), accepted)
    done = await finished(rest.app, accepted)
    assert (done["status"], counted(done), done["progress"]) == ("completed", (3, 0, 0), 100)
    assert demand_replay(await rest.app.post(BATCHES, body, key), accepted) == done
    await rest.redis.flushdb()
    assert demand_replay(await rest.app.post(BATCHES, body, key), accepted) == done
    balances = [await rest.posted(person) for person in (sender, first, second)]
    assert balances == [9_400, 400, 200]
    paid = await items(rest.app, done)
    assert [(item["index"], item["amount"], item["status"]) for item in paid] == [
        (0, 100, "succeeded"),
        (1, 200, "succeeded"),
        (2, 300, "succeeded"),
    ]
    single = (await rest.app.get(f"/v1/transactions/{paid[1]['transaction_id']}")).json()
    assert (single["kind"], single["memo"], single["receiver_id"]) == ("transfer", "Salary", second.wallet_id)


async def test_another_body_under_a_batch_s_key_is_refused(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(1_000), await rest.person(), new_key()
    body = batch_body(sender, [(receiver, 100)])
    await finished(rest.app, await rest.app.post(BATCHES, body, key))
    for changed in ({"mode": "atomic"}, {"currency": "EUR"}, {"transfers": body["transfers"] * 2}):
        demand_reused(await rest.app.post(BATCHES, body | changed, key))
    plain = rest.transfer_body(sender, receiver, 100)
    demand_reused(await rest.app.post(TRANSFERS, plain, key))
    plain_key = new_key()
    assert (await rest.app.post(TRANSFERS, plain, plain_key)).json()["status"] == "succeeded"
    demand_reused(await rest.app.post(BATCHES, body, plain_key))
    assert await rest.posted(receiver) == 200


async def test_a_batch_under_a_key_of_another_wallet_is_refused(rest: Stage) -> None:
    sender, other, receiver, key = await rest.funded(500), await rest.funded(500), await rest.person(), new_key()
    await finished(rest.app, await rest.app.post(BATCHES, batch_body(sender, [(receiver, 1)]), key))
    demand_reused(await rest.app.post(BATCHES, batch_body(other, [(receiver, 1)]), key))


async def test_a_hundred_callers_of_one_batch_are_told_of_one(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(1_000), await rest.person(), new_key()
    body = batch_body(sender, [(receiver, 10)] * 5)
    answers = await asyncio.gather(*(rest.app.post(BATCHES, body, key) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["batch_id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert counted(await finished(rest.app, answers[0])) == (5, 0, 0)
    assert (await rest.posted(sender), await rest.posted(receiver)) == (950, 50)


async def test_where_the_money_runs_out_smaller_transfers_still_go(rest: Stage) -> None:
    sender, receiver = await rest.funded(1_000), await rest.person()
    body = batch_body(sender, [(receiver, 600), (receiver, 600), (receiver, 300), (receiver, 200), (receiver, 100)])
    done = await finished(rest.app, await rest.app.post(BATCHES, body))
    assert (done["status"], counted(done)) == ("completed", (3, 2, 0))
    assert (await rest.posted(sender), await rest.posted(receiver)) == (0, 1_000)
    refused = await items(rest.app, done, status="failed", limit=1)
    assert [item["index"] for item in refused] == [1, 3]
    assert {item["failure"]["code"] for item in refused} == {"insufficient_funds"}
    recorded = (await rest.app.get(f"/v1/transactions/{refused[0]['transaction_id']}")).json()
    assert (recorded["status"], recorded["failure"]["code"]) == ("failed", "insufficient_funds")


async def test_an_atomic_batch_pays_all(rest: Stage) -> None:
    sender, receiver = await rest.funded(1_000), await rest.person()
    body = batch_body(sender, [(receiver, 400), (receiver, 600)], "atomic")
    done = await finished(rest.app, await rest.app.post(BATCHES, body))
    assert (done["status"], counted(done), "failure" in done) == ("completed", (2, 0, 0), False)
    assert (await rest.posted(sender), await rest.posted(receiver)) == (0, 1_000)


async def test_an_atomic_batch_pays_nothing_where_one_transfer_cannot_be_paid(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(1_000), await rest.person(), new_key()
    body = batch_body(sender, [(receiver, 400), (receiver, 601), (receiver, 1), (receiver, 2_000)], "atomic")
    accepted = await rest.app.post(BATCHES, body, key)
    done = await finished(rest.app, accepted)
    assert (done["status"], counted(done)) == ("failed", (0, 4, 0))
    assert (done["failure"]["index"], done["failure"]["code"]) == (1, "insufficient_funds")
    codes = [item["failure"]["code"] for item in await items(rest.app, done)]
    assert codes == ["batch_refused", "insufficient_funds", "batch_refused", "batch_refused"]
    assert demand_replay(await rest.app.post(BATCHES, body, key), accepted) == done
    assert (await rest.posted(sender), await rest.posted(receiver)) == (1_000, 0)
    assert await rest.entries(receiver) == []


async def test_an_atomic_batch_to_a_frozen_wallet_pays_nothing(rest: Stage) -> None:
    sender, receiver, frozen = await rest.funded(1_000), await rest.person(), await rest.person()
    assert (await rest.operator.post(f"/v1/wallets/{frozen.wallet_id}/freeze", {"reason": "A test"})).status_code == 200
    body = batch_body(sender, [(receiver, 10), (frozen, 10)], "atomic")
    done = await finished(rest.app, await rest.app.post(BATCHES, body))
    assert (done["status"], done["failure"]["index"], done["failure"]["code"]) == ("failed", 1, "wallet_frozen")
    assert (await rest.posted(sender), await rest.posted(receiver)) == (1_000, 0)


@pytest.mark.parametrize("mode", ["independent", "atomic"])
async def test_a_key_makes_one_transfer_whichever_call_names_it(rest: Stage, mode: str) -> None:
    sender, receiver = await rest.funded(10_000), await rest.person()
    keys = [new_key() for _ in range(6)]
    plain = rest.transfer_body(sender, receiver, 10)
    before = [await rest.app.post(TRANSFERS, plain, key) for key in keys[:2]]
    own_keys = {f"item_{number}": key for number, key in enumerate(keys)}
    body = batch_body(sender, [(receiver, 10)] * 6, mode, **own_keys)
    async with another_api(rest) as express:
        accepted, *meanwhile = await asyncio.gather(
            rest.app.post(BATCHES, body),
            *(caller.post(TRANSFERS, plain, key) for key in keys[:4] * 3 for caller in (rest.app, express)),
        )
    done = await finished(rest.app, accepted)
    after = [await rest.app.post(TRANSFERS, plain, key) for key in keys]
    assert counted(done) == (6, 0, 0)
    assert {response.json()["status"] for response in (*before, *meanwhile, *after)} == {"succeeded"}
    paid = [item["transaction_id"] for item in await items(rest.app, done)]
    assert [response.json()["transaction_id"] for response in after] == paid
    assert [response.json()["transaction_id"] for response in before] == paid[:2]
    assert {response.json()["transaction_id"] for response in meanwhile} == set(paid[:4])
    assert (await rest.posted(sender), await rest.posted(receiver)) == (9_940, 60)


async def test_a_transfer_s_key_that_was_used_otherwise_fails_that_transfer(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(1_000), await rest.person(), new_key()
    await rest.app.post(TRANSFERS, rest.transfer_body(sender, receiver, 5), key)
    for mode, succeeded, status in (("independent", 1, "completed"), ("atomic", 0, "failed")):
        body = batch_body(sender, [(receiver, 10), (receiver, 20)], mode, item_1=key)
        done = await finished(rest.app, await rest.app.post(BATCHES, body))
        assert (done["status"], counted(done)) == (status, (succeeded, 2 - succeeded, 0))
        failed = (await items(rest.app, done))[1]
        assert (failed["failure"]["code"], "transaction_id" in failed) == ("idempotency_key_reused", False)
    assert (await rest.posted(sender), await rest.posted(receiver)) == (985, 15)


async def test_batches_and_single_transfers_share_a_wallet(rest: Stage) -> None:
    sender, receivers = await rest.funded(1_000), [await rest.person() for _ in range(5)]
    many = [(receivers[number % 5], 7) for number in range(60)]
    calls = [rest.app.post(BATCHES, batch_body(sender, many)) for _ in range(2)]
    calls += [rest.app.post(BATCHES, batch_body(sender, many[:30], "atomic"))]
    calls += [rest.app.post(TRANSFERS, rest.transfer_body(sender, receivers[0], 7)) for _ in range(30)]
    answers = await asyncio.gather(*calls)
    done = [await finished(rest.app, accepted) for accepted in answers[:3]]
    succeeded = sum(counted(batch)[0] for batch in done)
    succeeded += sum(answer.json()["status"] == "succeeded" for answer in answers[3:])
    # 1,000 pay for 142, which is fewer than are wanted even where the atomic batch comes too late for its 30.
    assert succeeded == 142
    assert await rest.posted(sender) == 1_000 - 7 * succeeded
    assert sum([await rest.posted(receiver) for receiver in receivers]) == 7 * succeeded


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["independent", "atomic"])
async def test_ten_thousand_transfers_end_to_end(rest: Stage, mode: str) -> None:
    sender, receivers, key = await rest.funded(50_000), [await rest.person() for _ in range(50)], new_key()
    body = batch_body(sender, [(receivers[number % 50], 5) for number in range(10_000)], mode)
    accepted = await rest.app.post(BATCHES, body, key)
    while_it_is_paid = await rest.app.post(BATCHES, body, key)
    done = await finished(rest.app, accepted)
    assert demand_replay(while_it_is_paid, accepted)["batch_id"] == done["batch_id"]
    assert (done["status"], counted(done)) == ("completed", (10_000, 0, 0))
    assert demand_replay(await rest.app.post(BATCHES, body, key), accepted) == done
    paid = await items(rest.app, done, limit=1_000)
    assert [item["index"] for item in paid] == list(range(10_000))
    assert len({item["transaction_id"] for item in paid}) == 10_000
    assert await rest.posted(sender) == 0
    assert {await rest.posted(receiver) for receiver in receivers} == {1_000}


async def test_pages_have_every_transfer_once(rest: Stage) -> None:
    sender, receiver = await rest.funded(1_000), await rest.person()
    body = batch_body(sender, [(receiver, amount) for amount in range(1, 26)])
    done = await finished(rest.app, await rest.app.post(BATCHES, body))
    assert [item["amount"] for item in await items(rest.app, done, limit=10)] == list(range(1, 26))
    assert await items(rest.app, done, status="failed") == []
    path = f"{BATCHES}/{done['batch_id']}/items"
    for bad in ({"cursor": "x"}, {"status": "paid"}, {"limit": 0}):
        assert (await rest.app.get(path, **bad)).status_code == 400  # type: ignore[arg-type]


async def test_a_batch_of_another_client_does_not_exist(rest: Stage) -> None:
    sender, receiver = await rest.funded(100), await rest.person()
    accepted = await rest.app.post(BATCHES, batch_body(sender, [(receiver, 1)]))
    done = await finished(rest.app, accepted)
    for path in (accepted.headers["Location"], accepted.headers["Location"] + "/items"):
        assert (await rest.other.get(path)).status_code == 404
        assert (await rest.operator.get(path)).status_code == 200
    assert (await rest.app.get(f"{BATCHES}/{BatchId.new(0)}")).status_code == 404
    assert done["status"] not in OPEN


@pytest.fixture
async def pair(rest: Stage) -> AsyncIterator[tuple[Person, Person]]:
    """A sender and a receiver between whom nothing may have moved at the end."""
    sender, receiver = await rest.funded(5_000), await rest.person()
    yield sender, receiver
    assert (await rest.posted(sender), await rest.posted(receiver)) == (5_000, 0)


BAD: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "amount": ({"amount": 0}, 400, "invalid_amount", "amount"),
    "amount of another type": ({"amount": "100"}, 400, "invalid_amount", "amount"),
    "malformed receiver": ({"receiver_id": "wal_42"}, 400, "invalid_id", "receiver_id"),
    "unknown receiver": ({"receiver_id": "wal_" + "0" * 32}, 404, "not_found", "receiver_id"),
    "unknown field": ({"colour": "blue"}, 400, "invalid_request", "colour"),
    "memo": ({"memo": "m" * 201}, 400, "invalid_request", "memo"),
    "key": ({"idempotency_key": "with space"}, 400, "idempotency_key_invalid", "idempotency_key"),
    "key of another": ({"idempotency_key": "twice"}, 400, "duplicate_item_key", "idempotency_key"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_wrong_transfer_is_named_and_nothing_is_paid(
    rest: Stage, pair: tuple[Person, Person], name: str
) -> None:
    change, status, code, field = BAD[name]
    body = batch_body(pair[0], [(pair[1], 10)] * 4, item_0="twice")
    body["transfers"][2] |= change
    response = await rest.app.post(BATCHES, body)
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert [problem["field"] for problem in response.json()["errors"]] == [f"transfers.2.{field}"]


async def test_a_transfer_to_the_sender_is_named(rest: Stage, pair: tuple[Person, Person]) -> None:
    sender, receiver = pair
    response = await rest.app.post(BATCHES, batch_body(sender, [(receiver, 1), (sender, 1)]))
    assert (response.status_code, response.json()["code"]) == (400, "self_transfer")
    assert response.json()["errors"][0]["field"] == "transfers.1.receiver_id"


async def test_the_batch_s_own_key_is_no_transfer_s(rest: Stage, pair: tuple[Person, Person]) -> None:
    key = new_key()
    response = await rest.app.post(BATCHES, batch_body(*pair[:1], [(pair[1], 1)], item_0=key), key)
    assert (response.status_code, response.json()["code"]) == (400, "duplicate_item_key")


@pytest.mark.parametrize("transfers", [0, 10_001])
async def test_a_batch_has_one_to_ten_thousand_transfers(
    rest: Stage, pair: tuple[Person, Person], transfers: int
) -> None:
    response = await rest.app.post(BATCHES, batch_body(pair[0], [(pair[1], 1)] * transfers))
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "transfers")


async def test_a_batch_s_body_may_be_large_and_not_larger(rest: Stage, pair: tuple[Person, Person]) -> None:
    padding = b" " * (4 * 1024 * 1024)
    headers = {"Content-Type": "application/json", "Idempotency-Key": new_key()}
    just = await rest.app.http.post(BATCHES, content=b"{}" + padding[2:], headers=headers)
    over = await rest.app.http.post(BATCHES, content=b"{}" + padding, headers=headers)
    assert (just.status_code, over.status_code) == (400, 413)
