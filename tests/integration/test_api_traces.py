"""The trace of a call is that of everything it brings about."""

import pytest
from sqlalchemy import text

from infra.database import reading
from infra.telemetry import accept_trace
from tests.rest.stage import WAIT_SECONDS, Stage, new_key

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def traces(rest: Stage, words: str) -> set[tuple[str, str | None]]:
    """(type, trace) of the events whose data has these words, on all shards."""
    query = text("SELECT type, trace FROM ledger.outbox WHERE data::text LIKE '%' || :words || '%'")
    found: set[tuple[str, str | None]] = set()
    for shard in rest.backends.shards.all:
        async with reading(shard.engine) as connection:
            found |= {(row.type, row.trace) for row in await connection.execute(query, {"words": words})}
    return found


async def test_all_events_of_a_payment_carry_the_callers_trace(rest: Stage) -> None:
    person = await rest.linked()
    headers = {"Idempotency-Key": new_key(), "traceparent": TRACE}
    deposit = await rest.app.http.post("/v1/deposits", json=rest.bank_body(person), headers=headers)
    location = deposit.headers["Location"]
    assert (await rest.app.get(location, wait=WAIT_SECONDS)).json()["status"] == "succeeded"
    assert await traces(rest, deposit.json()["transaction_id"]) == {
        ("transaction.processing", TRACE),
        ("transaction.completed", TRACE),
        ("entry.posted", TRACE),
    }


async def test_a_hold_carries_one_and_who_sends_none_gets_one(rest: Stage) -> None:
    person = await rest.funded(500)
    body = {"wallet_id": person.wallet_id, "amount": 100, "currency": "USD"}
    traced = {"Idempotency-Key": new_key(), "traceparent": TRACE}
    placed = await rest.app.http.post("/v1/holds", json=body, headers=traced)
    assert await traces(rest, placed.json()["hold_id"]) == {("hold.placed", TRACE)}
    placed = await rest.app.http.post(
        "/v1/holds", json=body, headers=traced | {"Idempotency-Key": new_key(), "traceparent": "?"}
    )
    ((kind, trace),) = await traces(rest, placed.json()["hold_id"])
    assert kind == "hold.placed"
    assert trace != TRACE
    assert accept_trace(trace) == trace


@pytest.mark.parametrize(
    "offered", ["", TRACE.upper(), f"ff{TRACE[2:]}", TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32)]
)
def test_what_is_no_traceparent_is_not_taken(offered: str) -> None:
    assert accept_trace(TRACE) == TRACE
    made = accept_trace(offered)
    assert made != offered
    assert accept_trace(made) == made
