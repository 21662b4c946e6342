"""`rail` on deposits and withdrawals: what may be asked for, what is answered, and over what the money goes."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.rest.stage import WAIT_SECONDS, Stage, new_key
from tests.workflow.scene import until

ABOVE_INSTANT = 1_000_000_001


async def _rails_of(rest: Stage, location: str) -> set[str]:
    detail = (await rest.app.get(location)).json()
    return {item["detail"]["rail"] for item in detail["timeline"] if "rail" in item["detail"]}


@pytest.mark.parametrize("asked", [{}, {"rail": "auto"}, {"rail": "instant"}])
async def test_auto_takes_the_instant_rail_first(rest: Stage, asked: dict[str, str]) -> None:
    person = await rest.linked()
    accepted = await rest.app.post("/v1/deposits", rest.bank_body(person, 5_000) | asked)
    assert accepted.status_code == 202, accepted.text
    assert accepted.json()["rail"] == asked.get("rail", "auto")
    done = await rest.app.get(accepted.headers["Location"], wait=WAIT_SECONDS)
    assert (done.json()["status"], done.json()["rail"]) == ("succeeded", asked.get("rail", "auto"))
    assert await _rails_of(rest, accepted.headers["Location"]) == {"instant"}


async def test_a_withdrawal_by_ach_is_paid_out_of_the_wallet_and_settles_later(rest: Stage) -> None:
    person = await rest.funded(5_000)
    accepted = await rest.app.post("/v1/withdrawals", rest.bank_body(person, 2_000) | {"rail": "ach"})
    assert accepted.status_code == 202, accepted.text
    assert accepted.json()["rail"] == "ach"
    waited = await rest.app.get(accepted.headers["Location"], wait=1)
    assert waited.json()["status"] == "processing"
    assert await _rails_of(rest, accepted.headers["Location"]) == {"ach"}
    assert await rest.posted(person) == 3_000


async def test_what_waits_of_a_deposit_is_in_its_answer(rest: Stage) -> None:
    person = await rest.linked(200_000)
    accepted = await rest.app.post("/v1/deposits", rest.bank_body(person, 150_000) | {"rail": "ach"})

    async def credited() -> bool:
        return await rest.posted(person) > 0

    await until("it is credited", credited)
    deferred = (await rest.app.get(accepted.headers["Location"])).json()["deferred"]
    assert deferred["amount"] == 50_000
    assert datetime.fromisoformat(deferred["available_at"]) > datetime.now(UTC) + timedelta(days=4)
    balance = (await rest.app.get(f"/v1/wallets/{person.wallet_id}")).json()["balance"]
    assert balance == {"posted": 150_000, "held": 50_000, "available": 100_000}


async def test_auto_knows_what_a_rail_can_carry(rest: Stage) -> None:
    person = await rest.linked()
    accepted = await rest.app.post("/v1/deposits", rest.bank_body(person, ABOVE_INSTANT))
    assert accepted.json()["rail"] == "ach"
    insisted = await rest.app.post("/v1/deposits", rest.bank_body(person, ABOVE_INSTANT) | {"rail": "instant"})
    done = (await rest.app.get(insisted.headers["Location"], wait=WAIT_SECONDS)).json()
    assert (done["status"], done["failure"]["code"]) == ("failed", "bank_refused")
    assert "(S03)" in done["failure"]["detail"]


async def test_a_rail_is_part_of_what_was_asked_for(rest: Stage) -> None:
    person, key = await rest.linked(), new_key()
    first = await rest.app.post("/v1/deposits", rest.bank_body(person, 100), key)
    assert (await rest.app.post("/v1/deposits", rest.bank_body(person, 100) | {"rail": "auto"}, key)).json()[
        "transaction_id"
    ] == first.json()["transaction_id"]
    other = await rest.app.post("/v1/deposits", rest.bank_body(person, 100) | {"rail": "ach"}, key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_an_unknown_rail_is_refused(rest: Stage) -> None:
    person = await rest.linked()
    response = await rest.app.post("/v1/deposits", rest.bank_body(person, 100) | {"rail": "wire"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
