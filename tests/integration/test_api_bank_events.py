"""Events of banks at the API: told from anybody's, stored once, acted on in any order, never believed."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from domain.bank_events import BankEventOutcome, BankEventType
from infra.signatures import new_secret, read_secrets, secrets_file, signed
from ledger.bank_events import BankEvents, NewEvent
from tests.rest.stage import WAIT_SECONDS, Person, Stage, new_key

PATH = "/v1/bank-events/simulator"
PATIENCE_SECONDS = 20


@pytest.fixture(autouse=True)
def secret(rest: Stage) -> bytes:
    """What the bank and the platform share."""
    file = secrets_file(rest.settings)
    if not file.exists():
        file.write_text(new_secret())
    return read_secrets(file)[0]


def message(reference: str | None, kind: str = BankEventType.PAYMENT_SETTLED) -> bytes:
    """What the bank writes."""
    return json.dumps(
        {"type": kind, "timestamp": datetime.now(UTC).isoformat(), "data": {"reference": reference}}
    ).encode()


async def send(rest: Stage, secret: bytes, event_id: str, body: bytes, at: datetime | None = None) -> httpx.Response:
    """The bank sends it."""
    headers = signed([secret], event_id, at or datetime.now(UTC), body)
    return await rest.app.http.post(PATH, content=body, headers={**headers, "authorization": ""})


def stored(rest: Stage, event_id: str) -> list[tuple[Any, ...]]:
    """Type, reference, outcome and body of each row of the inbox with this id."""
    query = "SELECT type, reference, outcome, body FROM directory.bank_events WHERE event_id = %s"
    with psycopg.connect(rest.settings.shard_urls[0], autocommit=True) as connection:
        return connection.execute(query, (event_id,)).fetchall()


async def outcome(rest: Stage, event_id: str) -> str:
    """What was done about an event, once something was."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            ((_, _, done, _),) = stored(rest, event_id)
            if done is not None:
                return str(done)
            await asyncio.sleep(0.05)


async def deposit(rest: Stage, person: Person) -> str:
    """The id of a deposit at its end."""
    made = await rest.app.post("/v1/deposits", rest.bank_body(person, 500))
    done = await rest.app.get(made.headers["Location"], wait=WAIT_SECONDS)
    assert done.json()["status"] == "succeeded"
    return str(done.json()["transaction_id"])


async def test_an_event_is_stored_once_however_often_it_comes(rest: Stage, secret: bytes) -> None:
    event_id, body = new_key(), message("txn_nobody:deposit")
    first = await send(rest, secret, event_id, body)
    assert (first.status_code, first.json()) == (202, {"event_id": event_id, "duplicate": False})
    again = await asyncio.gather(*(send(rest, secret, event_id, body) for _ in range(5)))
    assert all(response.json()["duplicate"] for response in again)
    assert len(stored(rest, event_id)) == 1
    assert await outcome(rest, event_id) == BankEventOutcome.UNKNOWN_PAYMENT


@pytest.mark.parametrize("late", [timedelta(minutes=-6), timedelta(minutes=6)])
async def test_a_recording_is_refused_and_not_stored(rest: Stage, secret: bytes, late: timedelta) -> None:
    event_id = new_key()
    refused = await send(rest, secret, event_id, message(None), at=datetime.now(UTC) + late)
    assert (refused.status_code, refused.json()["code"]) == (403, "bank_event_refused")
    assert stored(rest, event_id) == []


async def test_a_stranger_is_refused(rest: Stage, secret: bytes) -> None:
    event_id = new_key()
    for response in (
        await send(rest, b"s" * 32, event_id, message(None)),
        await rest.app.http.post(PATH, content=message(None)),
        await send(rest, secret, event_id, b"no JSON"),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "bank_event_refused")
    assert stored(rest, event_id) == []
    nowhere = await rest.app.http.post("/v1/bank-events/nobank", content=b"{}")
    assert (nowhere.status_code, nowhere.json()["code"]) == (400, "unknown_bank")


async def test_what_it_says_is_not_believed(rest: Stage, secret: bytes) -> None:
    person = await rest.linked()
    transaction_id = await deposit(rest, person)
    event_id = new_key()
    await send(rest, secret, event_id, message(f"{transaction_id}:deposit", BankEventType.PAYMENT_RETURNED))
    # Whether there is a schedule to be told depends on what else has run on this server.
    assert await outcome(rest, event_id) in (BankEventOutcome.NOT_RUNNING, BankEventOutcome.STATEMENT_READ)
    after = await rest.app.get(f"/v1/transactions/{transaction_id}")
    assert (after.json()["status"], await rest.posted(person)) == ("succeeded", 500)


async def test_an_event_of_another_bank_or_kind_or_type_moves_nothing(rest: Stage, secret: bytes) -> None:
    transaction_id = await deposit(rest, await rest.linked())
    wrong_kind, wrong_type, empty = new_key(), new_key(), new_key()
    await send(rest, secret, wrong_kind, message(f"{transaction_id}:withdrawal"))
    await send(rest, secret, wrong_type, message(f"{transaction_id}:deposit", "account.renamed"))
    await send(rest, secret, empty, message(None))
    assert await outcome(rest, wrong_kind) == BankEventOutcome.UNKNOWN_PAYMENT
    assert await outcome(rest, wrong_type) == BankEventOutcome.IGNORED
    assert await outcome(rest, empty) == BankEventOutcome.UNKNOWN_PAYMENT


async def test_the_body_is_kept_encrypted(rest: Stage, secret: bytes) -> None:
    event_id = new_key()
    await send(rest, secret, event_id, message("txn_secret:deposit", "account.closed"))
    ((_, _, _, body),) = stored(rest, event_id)
    assert "account.closed" not in body
    assert "txn_secret" not in body


async def test_events_that_were_stored_and_left_are_acted_on_later(rest: Stage, secret: bytes) -> None:
    left, next_one = new_key(), new_key()
    inbox: BankEvents = rest.backends.bank_events
    event = NewEvent(
        bank="simulator",
        event_id=left,
        type="payment.settled",
        reference="txn_gone:deposit",
        occurred_at=datetime.now(UTC),
        body="{}",
    )
    assert await inbox.store(event)
    await send(rest, secret, next_one, message(None))
    assert await outcome(rest, left) == BankEventOutcome.UNKNOWN_PAYMENT
    assert not await inbox.store(event)
