"""One idempotency key makes at most one effect, for ever, whatever has been forgotten in the meantime."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from domain.contracts.activities import SweepReport, SweepRequest
from domain.contracts.payments import OPERATIONS_QUEUE
from domain.contracts.workflows import SWEEP_WORKFLOW, payment_workflow_id
from domain.ids import WalletId
from tests.rest.stage import WAIT_SECONDS, Person, Stage, new_key

CALLERS = 100


def one_answer(responses: list[httpx.Response]) -> dict[str, Any]:
    """The answer that all callers got, apart from the mark on replays."""
    assert {response.status_code for response in responses} == {202}, responses[0].text
    bodies = {response.text for response in responses}
    assert len(bodies) == 1, bodies
    found: dict[str, Any] = responses[0].json()
    return found


def firsts(responses: list[httpx.Response]) -> int:
    """How many answers are not marked as replays."""
    return sum("Idempotent-Replayed" not in response.headers for response in responses)


async def race(rest: Stage, body: dict[str, Any], key: str, callers: int = CALLERS) -> list[httpx.Response]:
    """The same transfer, so many times at once."""
    return list(await asyncio.gather(*(rest.app.post("/v1/transfers", body, key) for _ in range(callers))))


async def demand_refused(rest: Stage, body: dict[str, Any], key: str) -> None:
    """The key with another body is a 422, every time."""
    for changed in ({"amount": body["amount"] + 1}, {"memo": "another"}, {"currency": "EUR"}):
        response = await rest.app.post("/v1/transfers", body | changed, key)
        assert response.status_code == 422, response.text
        assert response.json()["code"] == "idempotency_key_reused"


def workflow_id(rest: Stage, person: Person, key: str) -> str:
    """Of a payment scoped to the person's wallet."""
    return payment_workflow_id(rest.client_id, WalletId(person.wallet_id), key)


async def delete_workflows(rest: Stage, names: list[str]) -> None:
    """Delete closed workflows from Temporal, as its retention would. The server takes its time, up to a minute."""
    for name in names:
        await rest.temporal.get_workflow_handle(name).result()
        request = DeleteWorkflowExecutionRequest(
            namespace=rest.settings.temporal_namespace, workflow_execution=WorkflowExecution(workflow_id=name)
        )
        await rest.temporal.workflow_service.delete_workflow_execution(request)
    deadline = asyncio.get_running_loop().time() + 90
    while [name for name in names if await is_known(rest, name)]:
        assert asyncio.get_running_loop().time() < deadline, "the workflows are still there"
        await asyncio.sleep(0.5)


async def is_known(rest: Stage, name: str) -> bool:
    """Whether Temporal remembers a workflow."""
    try:
        await rest.temporal.get_workflow_handle(name).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


@asynccontextmanager
async def flushed_often(rest: Stage) -> AsyncIterator[None]:
    """Redis forgets everything every few milliseconds."""
    over = False

    async def flush() -> None:
        while not over:
            await rest.redis.flushdb()
            await asyncio.sleep(0.002)

    flushing = asyncio.create_task(flush())
    try:
        yield
    finally:
        over = True
        await flushing


async def test_a_hundred_callers_race_one_key(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(10_000), await rest.person(), new_key()
    body = rest.transfer_body(sender, receiver, 700)
    responses = await race(rest, body, key)
    assert one_answer(responses)["status"] == "succeeded"
    assert firsts(responses) == 1
    assert (await rest.posted(sender), await rest.posted(receiver)) == (9_300, 700)
    assert len(await rest.entries(receiver)) == 1
    await demand_refused(rest, body, key)


async def test_again_with_redis_flushed_in_the_middle(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(10_000), await rest.person(), new_key()
    body = rest.transfer_body(sender, receiver, 700)
    async with flushed_often(rest):
        responses = await race(rest, body, key, CALLERS // 2)
        await rest.redis.flushdb()
        responses += await race(rest, body, key, CALLERS // 2)
    one_answer(responses)
    assert firsts(responses) == 1
    assert (await rest.posted(sender), len(await rest.entries(receiver))) == (9_300, 1)
    await rest.redis.flushdb()
    await demand_refused(rest, body, key)


async def test_again_with_the_workflow_closed(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(10_000), await rest.person(), new_key()
    body = rest.transfer_body(sender, receiver, 700)
    first = await rest.app.post("/v1/transfers", body, key)
    await rest.temporal.get_workflow_handle(workflow_id(rest, sender, key)).result()
    await rest.redis.flushdb()
    responses = await race(rest, body, key)
    assert one_answer([first, *responses])["status"] == "succeeded"
    assert firsts(responses) == 0
    assert (await rest.posted(sender), len(await rest.entries(receiver))) == (9_300, 1)
    await rest.redis.flushdb()
    await demand_refused(rest, body, key)


@pytest.mark.slow
async def test_again_with_the_workflows_deleted_and_redis_flushed(rest: Stage) -> None:
    person, receiver = await rest.funded(10_000), await rest.person()
    transfer = rest.transfer_body(person, receiver, 700)
    payments = [
        ("/v1/transfers", transfer, new_key()),
        ("/v1/transfers", transfer, new_key()),
        ("/v1/deposits", rest.bank_body(person, 50), new_key()),
        ("/v1/withdrawals", rest.bank_body(person, 30), new_key()),
    ]
    paid = [await rest.app.post(*payment) for payment in payments]
    firsts_done = [await rest.app.get(first.headers["Location"], wait=WAIT_SECONDS) for first in paid]
    assert [done.json()["status"] for done in firsts_done] == ["succeeded"] * 4
    balance = await rest.posted(person)
    await delete_workflows(rest, [workflow_id(rest, person, key) for _, _, key in payments])
    await rest.redis.flushdb()
    (_, body, key), (_, other_body, other_key), *at_bank = payments
    responses = await race(rest, body, key)
    assert one_answer([paid[0], *responses])["status"] == "succeeded"
    assert firsts(responses) == 0
    await demand_refused(rest, other_body, other_key)
    for (route, bank_body, bank_key), first in zip(at_bank, paid[2:], strict=True):
        again = await rest.app.post(route, bank_body, bank_key)
        assert (again.status_code, again.json()["transaction_id"]) == (202, first.json()["transaction_id"])
        assert (await rest.app.post(route, bank_body | {"amount": 31}, bank_key)).status_code == 422
    assert (await rest.posted(person), len(await rest.entries(receiver))) == (balance, 2)


@pytest.mark.parametrize("route", ["/v1/deposits", "/v1/withdrawals"])
@pytest.mark.parametrize("forget", ["nothing", "redis"])
async def test_bank_payments_are_made_once_too(rest: Stage, route: str, forget: str) -> None:
    person, key = await rest.funded(10_000), new_key()
    body = rest.bank_body(person, 400)
    first = await rest.app.post(route, body, key)
    assert first.status_code == 202, first.text
    done = await rest.app.get(first.headers["Location"], wait=WAIT_SECONDS)
    assert done.json()["status"] == "succeeded"
    if forget == "redis":
        await rest.redis.flushdb()
    responses = list(await asyncio.gather(*(rest.app.post(route, body, key) for _ in range(20))))
    assert one_answer(responses)["transaction_id"] == first.json()["transaction_id"]
    assert firsts(responses) == 0
    assert await rest.posted(person) == (10_400 if route == "/v1/deposits" else 9_600)
    if forget == "redis":
        await rest.redis.flushdb()
    refused = await rest.app.post(route, body | {"amount": 401}, key)
    assert refused.json()["code"] == "idempotency_key_reused", refused.text


async def test_twenty_callers_race_one_withdrawal(rest: Stage) -> None:
    person, key = await rest.funded(1_000), new_key()
    body = rest.bank_body(person, 1_000)
    responses = list(await asyncio.gather(*(rest.app.post("/v1/withdrawals", body, key) for _ in range(20))))
    assert {response.status_code for response in responses} == {202}, [r.text for r in responses]
    assert len({response.json()["transaction_id"] for response in responses}) == 1
    await rest.app.get(responses[0].headers["Location"], wait=WAIT_SECONDS)
    assert await rest.posted(person) == 0


@pytest.mark.parametrize("flush", [False, True])
async def test_a_key_is_for_one_kind_of_payment(rest: Stage, flush: bool) -> None:
    person, receiver, key = await rest.funded(5_000), await rest.person(), new_key()
    paid = await rest.app.post("/v1/transfers", rest.transfer_body(person, receiver), key)
    assert paid.json()["status"] == "succeeded"
    for route in ("/v1/deposits", "/v1/withdrawals"):
        if flush:
            await rest.redis.flushdb()
        response = await rest.app.post(route, rest.bank_body(person), key)
        assert response.status_code == 422, response.text
    assert await rest.posted(person) == 4_900


async def test_a_key_belongs_to_one_wallet_as_far_as_redis_remembers(rest: Stage) -> None:
    sender, receiver = await rest.funded(5_000), await rest.funded(5_000)
    for _ in range(20):  # A Redis that is slow is not waited for.
        before, key = await rest.posted(sender), new_key()
        await rest.app.post("/v1/transfers", rest.transfer_body(sender, receiver), key)
        response = await rest.app.post("/v1/transfers", rest.transfer_body(receiver, sender), key)
        if response.status_code == 422:
            break
    assert response.json()["code"] == "idempotency_key_reused"
    assert await rest.posted(sender) == before - 100


async def test_the_key_may_stand_in_the_body(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(5_000), await rest.person(), new_key()
    body = rest.transfer_body(sender, receiver)
    in_header = await rest.app.post("/v1/transfers", body, key)
    in_body = await rest.app.post("/v1/transfers", body | {"idempotency_key": key}, "")
    in_both = await rest.app.post("/v1/transfers", body | {"idempotency_key": key}, key)
    assert one_answer([in_header, in_body, in_both])
    assert await rest.posted(sender) == 4_900


async def test_what_redis_remembers_wrongly_is_not_believed(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(5_000), await rest.person(), new_key()
    name = f"idem:{rest.client_id}:{sender.wallet_id}:{key}"
    body = rest.transfer_body(sender, receiver)
    for nonsense in (b"\xff", b"{}", b'["txn_no", 1]', b"[1, 2, 3]", b"null"):
        await rest.redis.set(name, nonsense)
        response = await rest.app.post("/v1/transfers", body, key)
        assert response.status_code == 202, response.text
    assert await rest.posted(sender) == 4_900


async def test_a_user_is_added_once(rest: Stage) -> None:
    key, body = new_key(), {"name": "Grace", "email": "grace@example.com"}
    responses = list(await asyncio.gather(*(rest.app.post("/v1/users", body, key) for _ in range(30))))
    assert {response.status_code for response in responses} == {201}
    assert len({response.text for response in responses}) == 1
    assert firsts(responses) == 1
    changed = await rest.app.post("/v1/users", body | {"name": "Hopper"}, key)
    assert changed.json()["code"] == "idempotency_key_reused"
    link = await rest.app.post("/v1/bank-links", {"user_id": responses[0].json()["user_id"]}, key)
    assert link.json()["code"] == "idempotency_key_reused"


async def test_a_replayed_bank_link_and_account_need_no_bank(rest: Stage) -> None:
    person, link_key, account_key = await rest.person(), new_key(), new_key()
    link = await rest.app.post("/v1/bank-links", {"user_id": person.user_id}, link_key)
    async with rest.bank.admin() as admin:
        approval = await admin.approve(link.json()["link_token"])
    body = {"user_id": person.user_id, "public_token": approval.public_token}
    account = await rest.app.post("/v1/bank-accounts", body, account_key)
    assert account.status_code == 201, account.text
    rest.bank.kill()
    try:
        again = await rest.app.post("/v1/bank-links", {"user_id": person.user_id}, link_key)
        account_again = await rest.app.post("/v1/bank-accounts", body, account_key)
        new = await rest.app.post("/v1/bank-links", {"user_id": person.user_id})
    finally:
        rest.bank.restart()
    assert (again.status_code, again.json()) == (201, link.json())
    assert (account_again.status_code, account_again.json()) == (201, account.json())
    assert new.status_code == 503
    assert new.json()["code"] == "bank_unavailable"


async def test_a_terminated_payment_is_answered_from_the_ledger(rest: Stage) -> None:
    person, key = await rest.funded(5_000), new_key()
    rest.bank.kill()
    try:
        first = await rest.app.post("/v1/withdrawals", rest.bank_body(person, 400), key)
        assert first.json()["status"] == "processing", first.text
        await rest.temporal.get_workflow_handle(workflow_id(rest, person, key)).terminate("by an operator")
        await rest.redis.flushdb()
        again = await rest.app.post("/v1/withdrawals", rest.bank_body(person, 400), key)
    finally:
        rest.bank.restart()
    assert again.status_code == 202, again.text
    assert again.json()["transaction_id"] == first.json()["transaction_id"]
    report = await rest.temporal.execute_workflow(
        SWEEP_WORKFLOW,
        SweepRequest(older_than_seconds=0),
        id=new_key(),
        task_queue=OPERATIONS_QUEUE,
        result_type=SweepReport,
    )
    assert report.restarted >= 1
    done = await rest.app.get(first.headers["Location"], wait=WAIT_SECONDS)
    assert done.json()["status"] == "succeeded", done.text
    assert await rest.posted(person) == 4_600
