"""The express lane: transfers that the API commits itself, and what becomes of those that it cannot finish."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import Any

import httpx
import psycopg
import pytest

from api.app import create_app
from domain.contracts.payments import PaymentRequest
from domain.contracts.workflows import payment_workflow_id
from domain.ids import WalletId
from tests.integration.test_api_idempotency import firsts, is_known, one_answer
from tests.rest.stage import WAIT_SECONDS, Caller, Person, Stage, new_key
from worker import build_transfer_worker

EACH_LANE = 100


@asynccontextmanager
async def another_api(rest: Stage, **settings: object) -> AsyncIterator[Caller]:
    """One more API on the same servers, in the express lane; the stage's own is in the workflow lane."""
    api = create_app(rest.settings.model_copy(update={"transfer_lane": "express", **settings}), build_transfer_worker)
    async with api.router.lifespan_context(api):
        caller = Caller(api, rest.app_key)
        yield caller
        await caller.http.aclose()


@pytest.fixture(scope="module")
async def express(rest: Stage) -> AsyncIterator[Caller]:
    """An app that talks to an API in the express lane."""
    async with another_api(rest) as caller:
        yield caller


@contextmanager
def kept_locked(rest: Stage, person: Person) -> Iterator[psycopg.Connection]:
    """Nothing can be posted on the person's wallet until the connection's transaction ends."""
    with psycopg.connect(rest.settings.shard_urls[0]) as connection:
        connection.execute(
            "SELECT FROM ledger.accounts WHERE account_id = %s FOR UPDATE", [WalletId(person.wallet_id).uuid]
        )
        yield connection


def workflow_of(rest: Stage, sender: Person, key: str) -> str:
    """The workflow id of the transfer under a key."""
    return payment_workflow_id(rest.client_id, WalletId(sender.wallet_id), key)


async def until_known(rest: Stage, name: str) -> None:
    """Until Temporal has such a workflow."""
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while not await is_known(rest, name):
        assert asyncio.get_running_loop().time() < deadline, f"there is no workflow {name}"
        await asyncio.sleep(0.05)


async def request_of(rest: Stage, name: str) -> PaymentRequest:
    """What a workflow was started with."""
    history = await rest.temporal.get_workflow_handle(name).fetch_history()
    payloads = history.events[0].workflow_execution_started_event_attributes.input.payloads
    request: PaymentRequest
    (request,) = await rest.temporal.data_converter.decode(payloads, [PaymentRequest])
    return request


async def story(rest: Stage, answer: httpx.Response) -> tuple[list[Any], list[str]]:
    """What the ledger tells of a payment: its timeline, and the kinds of its events in the outbox."""
    transaction_id = answer.json()["transaction_id"]
    detail = (await rest.app.get(f"/v1/transactions/{transaction_id}")).json()
    with psycopg.connect(rest.settings.shard_urls[0]) as connection:
        told = connection.execute(
            "SELECT type FROM ledger.outbox WHERE data->>'tx_id' = %s ORDER BY type", [transaction_id]
        ).fetchall()
    return [(item["type"], item["step"]) for item in detail["timeline"]], [kind for (kind,) in told]


SETTLED = ([("step.posted", "settle_transfer")], ["entry.posted", "entry.posted", "transaction.completed"])
REFUSED = ([("step.refused", "settle_transfer")], ["transaction.failed"])


async def test_a_transfer_is_final_in_the_answer_and_needs_no_workflow(rest: Stage, express: Caller) -> None:
    sender, receiver, key = await rest.funded(10_000), await rest.person(), new_key()
    body = rest.transfer_body(sender, receiver, 700)
    paid = await express.post("/v1/transfers", body, key)
    assert (paid.status_code, paid.json()["status"]) == (202, "succeeded")
    assert (await rest.posted(sender), await rest.posted(receiver)) == (9_300, 700)
    assert await story(rest, paid) == SETTLED
    assert not await is_known(rest, workflow_of(rest, sender, key))


@pytest.mark.parametrize("flush", [False, True])
async def test_either_lane_answers_what_the_other_has_recorded(rest: Stage, express: Caller, flush: bool) -> None:
    sender, receiver = await rest.funded(10_000), await rest.person()
    body = rest.transfer_body(sender, receiver, 100)
    for first, second in ((express, rest.app), (rest.app, express)):
        key = new_key()
        answers = [await first.post("/v1/transfers", body, key)]
        if flush:
            await rest.redis.flushdb()
        answers.append(await second.post("/v1/transfers", body, key))
        assert one_answer(answers)["status"] == "succeeded"
        assert firsts(answers) == 1
        assert await story(rest, answers[0]) == SETTLED
        for caller in (first, second):
            if flush:
                await rest.redis.flushdb()
            reused = await caller.post("/v1/transfers", body | {"amount": 101}, key)
            assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    assert await rest.posted(sender) == 9_800


@pytest.mark.parametrize(("amount", "status", "told"), [(700, "succeeded", SETTLED), (10_001, "failed", REFUSED)])
async def test_hundreds_race_one_key_through_both_lanes(
    rest: Stage, express: Caller, amount: int, status: str, told: object
) -> None:
    sender, receiver, key = await rest.funded(10_000), await rest.person(), new_key()
    body = rest.transfer_body(sender, receiver, amount)
    callers = [caller for _ in range(EACH_LANE) for caller in (express, rest.app)]
    answers = list(await asyncio.gather(*(caller.post("/v1/transfers", body, key) for caller in callers)))
    assert one_answer(answers)["status"] == status
    assert firsts(answers) == 1
    assert await story(rest, answers[0]) == told
    moved = amount if status == "succeeded" else 0
    assert (await rest.posted(sender), await rest.posted(receiver)) == (10_000 - moved, moved)


async def test_a_commit_that_takes_too_long_goes_on_in_the_workflow(rest: Stage, express: Caller) -> None:
    sender, receiver, key = await rest.funded(10_000), await rest.person(), new_key()
    body, name = rest.transfer_body(sender, receiver, 700), workflow_of(rest, sender, key)
    with kept_locked(rest, sender) as connection:
        paying = asyncio.create_task(express.post("/v1/transfers", body, key))
        await until_known(rest, name)
        connection.rollback()
    answers = [
        await paying,
        await express.post("/v1/transfers", body, key),
        await rest.app.post("/v1/transfers", body, key),
    ]
    paid = one_answer(answers)
    assert paid["status"] == "succeeded"
    assert await story(rest, answers[0]) == SETTLED
    assert await rest.posted(sender) == 9_300
    assert (await request_of(rest, name)).transaction_id == paid["transaction_id"]


async def test_a_ledger_that_has_enough_to_do_says_so_at_once(rest: Stage) -> None:
    sender, receiver = await rest.funded(10_000), await rest.person()
    body, keys = rest.transfer_body(sender, receiver), [new_key() for _ in range(12)]
    async with another_api(rest, ledger_queue_size=1, ledger_writers=1, api_hosts_worker=False) as express:
        with kept_locked(rest, sender) as connection:
            paying = [asyncio.create_task(express.post("/v1/transfers", body, key)) for key in keys]
            for answered in islice(asyncio.as_completed(paying, timeout=WAIT_SECONDS), len(keys) - 2):
                assert (await answered).status_code == 503
            connection.rollback()
        answers = await asyncio.gather(*paying)
        busy = [key for key, answer in zip(keys, answers, strict=True) if answer.status_code == 503]
        assert len(busy) >= len(keys) - 2
        for answer in answers:
            if answer.status_code == 503:
                assert (answer.json()["code"], answer.headers["Retry-After"]) == ("ledger_busy", "1")
        assert not [key for key in busy if await is_known(rest, workflow_of(rest, sender, key))]
        again = [await express.post("/v1/transfers", body, key) for key in keys]
        assert {answer.json()["status"] for answer in again} == {"succeeded"}
    assert await rest.posted(sender) == 10_000 - 100 * len(keys)
