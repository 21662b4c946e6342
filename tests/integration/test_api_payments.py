"""Payments through the API on real servers: what moves, what is answered, what is refused."""

import asyncio

from domain.contracts.payments import PaymentResult
from domain.contracts.workflows import payment_workflow_id
from domain.ids import WalletId
from infra.telemetry import REGISTRY
from tests.rest.stage import WAIT_SECONDS, Stage, new_key


async def test_a_transfer_moves_money_at_once(rest: Stage) -> None:
    sender, receiver = await rest.funded(10_000), await rest.person()
    response = await rest.app.post("/v1/transfers", rest.transfer_body(sender, receiver, 2_500) | {"memo": "Lunch"})
    assert response.status_code == 202, response.text
    payment = response.json()
    assert payment["status"] == "succeeded"
    assert (payment["amount"], payment["currency"], payment["memo"]) == (2_500, "USD", "Lunch")
    assert (payment["sender_id"], payment["receiver_id"]) == (sender.wallet_id, receiver.wallet_id)
    assert response.headers["Location"] == f"/v1/transactions/{payment['transaction_id']}"
    assert "Idempotent-Replayed" not in response.headers
    assert (await rest.posted(sender), await rest.posted(receiver)) == (7_500, 2_500)


async def test_a_transfer_is_answered_from_its_commit_and_its_workflow_ends_alike(rest: Stage) -> None:
    sender, receiver, key = await rest.funded(500), await rest.person(), new_key()
    seen = REGISTRY.get_sample_value("sagapay_transfer_outcomes_total", {"by": "ledger"}) or 0
    response = await rest.app.post("/v1/transfers", rest.transfer_body(sender, receiver, 200), key)
    assert REGISTRY.get_sample_value("sagapay_transfer_outcomes_total", {"by": "ledger"}) == seen + 1
    workflow_id = payment_workflow_id(rest.client_id, WalletId(sender.wallet_id), key)
    ended = await rest.temporal.get_workflow_handle(workflow_id, result_type=PaymentResult).result()
    assert (ended.transaction_id, ended.status) == (response.json()["transaction_id"], response.json()["status"])


async def test_user_ids_stand_for_home_wallets(rest: Stage) -> None:
    sender, receiver = await rest.funded(500), await rest.person()
    body = rest.transfer_body(sender, receiver, 200) | {"sender_id": sender.user_id, "receiver_id": receiver.user_id}
    response = await rest.app.post("/v1/transfers", body)
    assert response.json()["sender_id"] == sender.wallet_id
    assert (await rest.posted(sender), await rest.posted(receiver)) == (300, 200)


async def test_a_decision_is_answered_with_202_and_recorded(rest: Stage) -> None:
    sender, receiver = await rest.person(), await rest.person()
    key = new_key()
    response = await rest.app.post("/v1/transfers", rest.transfer_body(sender, receiver, 1), key)
    assert response.status_code == 202
    assert response.json()["status"] == "failed"
    assert response.json()["failure"]["code"] == "insufficient_funds"
    again = await rest.app.post("/v1/transfers", rest.transfer_body(sender, receiver, 1), key)
    assert again.status_code == 202
    assert again.json() == response.json()
    assert await rest.posted(receiver) == 0


async def test_a_deposit_is_accepted_then_succeeds(rest: Stage) -> None:
    person = await rest.linked()
    response = await rest.app.post("/v1/deposits", rest.bank_body(person, 5_000))
    assert response.status_code == 202, response.text
    assert response.json()["status"] in ("processing", "succeeded")
    assert response.json()["wallet_id"] == person.wallet_id
    done = await rest.app.get(response.headers["Location"], wait=WAIT_SECONDS)
    assert done.json()["status"] == "succeeded"
    assert [item["step"] for item in done.json()["timeline"] if item["type"] == "step.posted"]
    assert done.json()["completed_at"] >= done.json()["created_at"]
    assert await rest.posted(person) == 5_000


async def test_a_withdrawal_holds_then_pays_out(rest: Stage) -> None:
    person = await rest.funded(5_000)
    response = await rest.app.post("/v1/withdrawals", rest.bank_body(person, 2_000))
    assert response.status_code == 202, response.text
    done = await rest.app.get(response.headers["Location"], wait=WAIT_SECONDS)
    assert done.json()["status"] == "succeeded", done.text
    wallet = (await rest.app.get(f"/v1/wallets/{person.wallet_id}")).json()
    assert wallet["balance"] == {"posted": 3_000, "held": 0, "available": 3_000}


async def test_a_withdrawal_without_funds_fails_and_touches_no_bank(rest: Stage) -> None:
    person = await rest.linked()
    response = await rest.app.post("/v1/withdrawals", rest.bank_body(person, 2_000))
    assert response.status_code == 202
    assert response.json()["failure"]["code"] == "insufficient_funds"


async def test_a_frozen_wallet_neither_pays_nor_is_paid(rest: Stage) -> None:
    person, other = await rest.funded(1_000), await rest.funded(1_000)
    frozen = await rest.operator.post(f"/v1/wallets/{person.wallet_id}/freeze", {"reason": "Reported stolen"})
    assert frozen.json()["status"] == "frozen"
    for body in (rest.transfer_body(person, other), rest.transfer_body(other, person)):
        response = await rest.app.post("/v1/transfers", body)
        assert response.status_code == 202
        assert response.json()["failure"]["code"] == "wallet_frozen"
    assert (await rest.posted(person), await rest.posted(other)) == (1_000, 1_000)
    active = await rest.operator.post(f"/v1/wallets/{person.wallet_id}/unfreeze", {"reason": "It was found"})
    assert active.json()["status"] == "active"
    paid = await rest.app.post("/v1/transfers", rest.transfer_body(person, other))
    assert paid.json()["status"] == "succeeded"


async def test_a_statement_pages_without_skipping_or_repeating(rest: Stage) -> None:
    sender, receiver = await rest.funded(1_000), await rest.person()
    await asyncio.gather(*(rest.app.post("/v1/transfers", rest.transfer_body(sender, receiver, 10)) for _ in range(7)))
    versions: list[int] = []
    query: dict[str, str | int] = {"limit": 3}
    while True:
        page = (await rest.app.get(f"/v1/wallets/{receiver.wallet_id}/entries", **query)).json()
        versions += [entry["version"] for entry in page["entries"]]
        if "next_cursor" not in page:
            break
        query["cursor"] = page["next_cursor"]
    assert versions == [7, 6, 5, 4, 3, 2, 1]


async def test_an_eventual_balance_comes_from_the_cache_and_shows_the_same(rest: Stage) -> None:
    person = await rest.funded(700)
    path = f"/v1/wallets/{person.wallet_id}"
    first = await rest.app.get(path, consistency="eventual")
    assert await rest.redis.exists(f"balance:{person.wallet_id}")
    second = await rest.app.get(path, consistency="eventual")
    assert first.json() == second.json() == (await rest.app.get(path)).json()
    assert (await rest.other.get(path, consistency="eventual")).status_code == 404


async def test_a_payment_at_a_bank_that_is_down_can_be_cancelled(rest: Stage) -> None:
    person = await rest.funded(3_000)
    rest.bank.kill()
    try:
        response = await rest.app.post("/v1/withdrawals", rest.bank_body(person, 1_000))
        assert response.json()["status"] == "processing"
        cancelled = await rest.app.post(f"{response.headers['Location']}/cancel", {"reason": "Changed my mind"})
    finally:
        rest.bank.restart()
    done = await rest.app.get(response.headers["Location"], wait=WAIT_SECONDS)
    wallet = (await rest.app.get(f"/v1/wallets/{person.wallet_id}")).json()
    if cancelled.status_code == 200:
        assert done.json()["failure"]["code"] == "cancelled"
        assert wallet["balance"] == {"posted": 3_000, "held": 0, "available": 3_000}
        again = await rest.app.post(f"{response.headers['Location']}/cancel", {})
        assert again.status_code == 200
    else:
        assert cancelled.json()["code"] == "cannot_cancel"
        assert done.json()["status"] == "succeeded"
        assert wallet["balance"]["posted"] == 2_000


async def test_what_has_succeeded_cannot_be_cancelled(rest: Stage) -> None:
    sender, receiver = await rest.funded(1_000), await rest.person()
    paid = await rest.app.post("/v1/transfers", rest.transfer_body(sender, receiver))
    response = await rest.app.post(f"{paid.headers['Location']}/cancel", {})
    assert response.status_code == 409
    assert response.json()["code"] == "cannot_cancel"
    assert await rest.posted(receiver) == 100
