"""What the cache of balances may do: save reads and hopeless debits. What it may not: be wrong for long, or pay."""

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from api.balances import COMPARE_EVERY
from domain.ids import WalletId
from infra.redis import balance_name
from infra.telemetry import REGISTRY
from ledger.service import Wallet
from tests.integration.test_api_express import another_api, story
from tests.integration.test_api_idempotency import is_known, workflow_id
from tests.rest.stage import WAIT_SECONDS, Person, Stage, new_key

TRIES = 20
"""A Redis that is slow is not waited for: what it would have saved is saved the next time."""


def counted(name: str, **labels: str) -> float:
    """What a metric says now."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def name_of(person: Person) -> str:
    """Where the cache has the person's balance."""
    return balance_name(WalletId(person.wallet_id))


async def cached(rest: Stage, person: Person) -> None:
    """Redis has the balance as it is now, and keeps it."""
    for _ in range(TRIES):
        await rest.app.get(f"/v1/wallets/{person.wallet_id}", consistency="eventual")
        await rest.redis.persist(name_of(person))
        if await rest.redis.hexists(name_of(person), "value"):
            return
    raise AssertionError("the cache does not get the balance")


async def lie(rest: Stage, person: Person, *, version: int, spendable: int) -> None:
    """Redis has a balance that the wallet never had."""
    value = orjson.dumps([rest.client_id, version, spendable, spendable, "{}"])
    await rest.redis.hset(name_of(person), mapping={"version": version, "value": value})


def debit(rest: Stage, kind: str, person: Person, receiver: Person, amount: int) -> tuple[str, dict[str, Any]]:
    """The route and body of a payment from the person's wallet."""
    if kind == "transfers":
        return "/v1/transfers", rest.transfer_body(person, receiver, amount)
    return "/v1/withdrawals", rest.bank_body(person, amount)


async def test_an_older_balance_never_replaces_a_newer_one(rest: Stage) -> None:
    cache, name = rest.backends.cache, f"balance:{new_key()}"

    async def written(value: bytes, version: int) -> bytes | None:
        await cache.set_newer(name, value, version=version, ttl_seconds=60)
        found: bytes | None = await rest.redis.hget(name, "value")
        return found

    for _ in range(TRIES):
        if await written(b"five", 5) == b"five":
            break
    assert await written(b"four", 4) == b"five"
    assert await written(b"five, read earlier", 5) == b"five"
    for _ in range(TRIES):
        await cache.outdate_many({name: 7}, ttl_seconds=60)
        if not await rest.redis.hexists(name, "value"):
            break
    assert await cache.get_versioned(name) is None
    assert await written(b"six, read before seven was heard of", 6) is None
    await cache.outdate_many({name: 3}, ttl_seconds=60)
    assert await written(b"six again", 6) is None
    for _ in range(TRIES):
        if await written(b"seven", 7) == b"seven":
            break
    await cache.outdate_many({name: 7}, ttl_seconds=60)
    assert await rest.redis.hget(name, "value") == b"seven"
    await rest.redis.delete(name)


@pytest.mark.parametrize("nonsense", [b"\xff", b"{}", b"[]", b"null", b'["cli_no",1,2,3,"{}"]', b"[1,2,3,4,5]"])
async def test_nonsense_in_the_cache_is_not_answered(rest: Stage, nonsense: bytes) -> None:
    person = await rest.person()
    path = f"/v1/wallets/{person.wallet_id}"
    await rest.redis.hset(name_of(person), mapping={"version": 99, "value": nonsense})
    answer = await rest.app.get(path, consistency="eventual")
    assert answer.json() == (await rest.app.get(path)).json()


@pytest.mark.parametrize("kind", ["transfers", "withdrawals"])
async def test_a_hopeless_debit_costs_no_workflow_and_is_recorded_as_in_every_lane(rest: Stage, kind: str) -> None:
    person, receiver = await rest.funded(500), await rest.person()
    route, body = debit(rest, kind, person, receiver, 700)
    await rest.redis.delete(name_of(person))
    by_workflow = await rest.app.post(route, body, known := new_key())
    assert await is_known(rest, workflow_id(rest, person, known))
    assert by_workflow.json()["failure"]["code"] == "insufficient_funds"
    for _ in range(TRIES):
        await cached(rest, person)
        refused = await rest.app.post(route, body, key := new_key())
        assert (refused.status_code, refused.json()["failure"]) == (202, by_workflow.json()["failure"]), refused.text
        if not await is_known(rest, workflow_id(rest, person, key)):
            break
    assert not await is_known(rest, workflow_id(rest, person, key))
    assert refused.json().keys() == by_workflow.json().keys()
    assert "Idempotent-Replayed" not in refused.headers
    for forget in (False, True):
        if forget:
            await rest.redis.flushdb()
        again = await rest.app.post(route, body, key)
        assert (again.json(), again.headers["Idempotent-Replayed"]) == (refused.json(), "true")
        other = await rest.app.post(route, body | {"amount": 701}, key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await story(rest, refused) == await story(rest, by_workflow)
    assert await rest.posted(person) == 500


async def test_who_could_not_pay_once_is_known_for_the_next_time(rest: Stage) -> None:
    person, receiver = await rest.person(), await rest.person()
    for _ in range(TRIES):
        await rest.redis.delete(name_of(person))
        await rest.app.post("/v1/transfers", rest.transfer_body(person, receiver))
        if await rest.redis.hexists(name_of(person), "value"):
            break
    assert await rest.redis.hexists(name_of(person), "value")


@pytest.mark.parametrize("kind", ["transfers", "withdrawals"])
async def test_money_that_came_since_can_be_spent_at_once(rest: Stage, kind: str) -> None:
    person, receiver = await rest.linked(), await rest.person()
    await cached(rest, person)
    deposit = await rest.app.post("/v1/deposits", rest.bank_body(person, 1_000))
    await rest.app.get(deposit.headers["Location"], wait=WAIT_SECONDS)
    paid = await rest.app.post(*debit(rest, kind, person, receiver, 700))
    done = await rest.app.get(paid.headers["Location"], wait=WAIT_SECONDS)
    assert done.json()["status"] == "succeeded", done.text
    assert await rest.posted(person) == 300


async def test_whose_history_it_is_the_cache_knows(rest: Stage) -> None:
    person = await rest.person()
    await cached(rest, person)
    path = f"/v1/wallets/{person.wallet_id}/transactions"
    before = counted("sagapay_balance_reads_total", by="cache")
    for _ in range(TRIES):
        assert (await rest.app.get(path)).status_code == 200
        assert (await rest.other.get(path)).status_code == 404
    assert counted("sagapay_balance_reads_total", by="cache") > before


@dataclass
class Earlier:
    """The ledger as it was read a moment too early."""

    found: Wallet | None

    async def wallet(self, wallet_id: WalletId) -> Wallet | None:
        """What it was."""
        return self.found


@pytest.mark.parametrize("kind", ["transfers", "withdrawals"])
async def test_money_that_comes_while_the_ledger_is_asked_is_spent_once(
    rest: Stage, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, receiver, key = await rest.linked(), await rest.person(), new_key()
    await cached(rest, person)
    before = Earlier(await rest.backends.ledger.wallet(WalletId(person.wallet_id)))
    deposit = await rest.app.post("/v1/deposits", rest.bank_body(person, 1_000))
    await rest.app.get(deposit.headers["Location"], wait=WAIT_SECONDS)
    monkeypatch.setattr(rest.backends.balances, "_ledger", before)
    route, body = debit(rest, kind, person, receiver, 700)
    answers = await asyncio.gather(*(rest.app.post(route, body, key) for _ in range(5)))
    assert len({answer.json()["transaction_id"] for answer in answers}) == 1
    done = await rest.app.get(answers[0].headers["Location"], wait=WAIT_SECONDS)
    assert done.json()["status"] == "succeeded", done.text
    assert await rest.posted(person) == 300


async def test_what_the_cache_says_pays_nothing(rest: Stage) -> None:
    person, receiver = await rest.funded(500), await rest.person()
    await lie(rest, person, version=1, spendable=1_000_000)
    refused = await rest.app.post("/v1/transfers", rest.transfer_body(person, receiver, 700))
    assert refused.json()["failure"]["code"] == "insufficient_funds"
    assert (await rest.posted(person), await rest.posted(receiver)) == (500, 0)


async def test_what_the_cache_says_forbids_nothing_and_is_counted(rest: Stage) -> None:
    person, receiver = await rest.funded(5_000), await rest.person()
    before, paid = counted("sagapay_balance_contradictions_total"), 0
    while counted("sagapay_balance_contradictions_total") == before and paid < TRIES:
        await lie(rest, person, version=10**6, spendable=0)
        answer = await rest.app.post("/v1/transfers", rest.transfer_body(person, receiver, 100))
        assert answer.json()["status"] == "succeeded", answer.text
        paid += 1
    assert counted("sagapay_balance_contradictions_total") == before + 1
    assert await rest.posted(person) == 5_000 - 100 * paid


async def test_drift_is_measured_where_both_are_read(rest: Stage) -> None:
    person, receiver = await rest.funded(5_000), await rest.person()
    wallet_id, balances = WalletId(person.wallet_id), rest.backends.balances
    known = await balances.look(wallet_id, None)
    for _ in range(3):
        await rest.app.post("/v1/transfers", rest.transfer_body(person, receiver))
    before = counted("sagapay_balance_drift_entries_sum"), counted("sagapay_balance_drift_entries_count")
    found = await balances.look(wallet_id, known)
    after = counted("sagapay_balance_drift_entries_sum"), counted("sagapay_balance_drift_entries_count")
    assert (after[0] - before[0], after[1] - before[1]) == (3, 1)
    assert found is not None
    assert found.posted == 4_700


async def test_now_and_then_the_ledger_answers_in_place_of_the_cache(rest: Stage) -> None:
    person = await rest.funded(500)
    await lie(rest, person, version=1, spendable=499)
    path = f"/v1/wallets/{person.wallet_id}"
    answers = [await rest.app.get(path, consistency="eventual") for _ in range(COMPARE_EVERY)]
    told = [answer.json()["balance"]["posted"] for answer in answers if answer.json()]
    assert told
    assert set(told) == {500}


async def test_a_crowd_of_one_senders_payments_is_shed(rest: Stage) -> None:
    person, receiver = await rest.funded(5_000), await rest.person()
    body = rest.transfer_body(person, receiver)
    async with another_api(rest, transfer_lane="workflow", sender_lock=True, sender_lock_wait_seconds=0.05) as app:
        await rest.redis.set(f"sender:{person.wallet_id}", "another process", px=60_000)
        shed, paid = await app.post("/v1/transfers", body, key := new_key()), 0
        while shed.status_code == 202 and paid < TRIES:
            shed, paid = await app.post("/v1/transfers", body, key := new_key()), paid + 1
        assert (shed.status_code, shed.json()["code"]) == (503, "wallet_busy"), shed.text
        assert shed.headers["Retry-After"] == "1"
        assert await rest.posted(person) == 5_000 - 100 * paid
        await rest.redis.delete(f"sender:{person.wallet_id}")
        assert (await app.post("/v1/transfers", body, key)).json()["status"] == "succeeded"
        deposit = await app.post("/v1/deposits", rest.bank_body(person))
        assert deposit.status_code == 202
        await app.get(deposit.headers["Location"], wait=WAIT_SECONDS)
        assert await rest.posted(person) == 5_000 - 100 * paid


async def test_those_who_wait_for_their_turn_get_it(rest: Stage) -> None:
    person, receiver = await rest.funded(1_000), await rest.person()
    body = rest.transfer_body(person, receiver)
    async with another_api(rest, transfer_lane="workflow", sender_lock=True, sender_lock_wait_seconds=30) as app:
        answers = await asyncio.gather(*(app.post("/v1/transfers", body) for _ in range(12)))
    assert sorted(answer.json()["status"] for answer in answers) == ["failed"] * 2 + ["succeeded"] * 10
    assert (await rest.posted(person), await rest.posted(receiver)) == (0, 1_000)
