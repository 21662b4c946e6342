"""The search in a wallet's history, as an app asks for it."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.ids import WalletId
from events.history import rows_of, write
from infra.database import transaction
from tests.events.outbox_rows import transaction_event
from tests.rest.stage import Person, Stage


async def lines(rest: Stage, person: Person, other: Person, *amounts: int) -> None:
    """Transfers in a history that no ledger knows of: one for each amount, to `other`."""
    wallets = {"sender": rest_wallet(person), "receiver": rest_wallet(other)}
    events = [transaction_event(amount=amount, **wallets).event for amount in amounts]
    async with transaction(rest.backends.engine) as connection:
        await write(connection, [row for event in events for row in rows_of(event)])  # type: ignore[arg-type]


def rest_wallet(person: Person) -> WalletId:
    return WalletId.parse(person.wallet_id)


async def test_filters_narrow_and_cursors_belong_to_them(rest: Stage) -> None:
    person, other = await rest.person(), await rest.person()
    await lines(rest, person, other, 5, 10, 15, 20)
    path = f"/v1/wallets/{person.wallet_id}/transactions"
    first = await rest.app.get(path, min_amount=10, max_amount=20, limit=2)
    assert [item["amount"] for item in first.json()["transactions"]] == [20, 15]
    cursor = first.json()["next_cursor"]
    second = await rest.app.get(path, min_amount=10, max_amount=20, limit=2, cursor=cursor)
    assert [item["amount"] for item in second.json()["transactions"]] == [10]
    assert "next_cursor" not in second.json()
    for other_question in ({"min_amount": 10}, {"min_amount": 10, "max_amount": 20, "kind": "transfer"}, {}):
        refused = await rest.app.get(path, cursor=cursor, **other_question)
        assert refused.json()["code"] == "invalid_cursor"
    theirs = f"/v1/wallets/{other.wallet_id}/transactions"
    assert (await rest.app.get(theirs, min_amount=10, max_amount=20, cursor=cursor)).json()["code"] == "invalid_cursor"


async def test_everything_can_be_asked_for(rest: Stage) -> None:
    person, other = await rest.person(), await rest.person()
    await lines(rest, person, other, 7)
    path = f"/v1/wallets/{person.wallet_id}/transactions"
    now = datetime.now(UTC)
    fits = {
        "direction": "out",
        "kind": "transfer",
        "status": "succeeded",
        "counterparty_id": other.wallet_id,
        "min_amount": 7,
        "max_amount": 7,
        "since": (now - timedelta(minutes=1)).isoformat(),
        "until": (now + timedelta(minutes=1)).isoformat(),
        "memo": "LUNCH",
    }
    assert len((await rest.app.get(path, **fits)).json()["transactions"]) == 1
    misses = {
        "direction": "in",
        "kind": "deposit",
        "status": "failed",
        "counterparty_id": person.wallet_id,
        "min_amount": 8,
        "max_amount": 6,
        "since": fits["until"],
        "until": fits["since"],
        "memo": "lun",
    }
    for name, value in misses.items():
        found = await rest.app.get(path, **{**fits, name: value})
        assert found.json()["transactions"] == [], name


@pytest.mark.parametrize(
    "query",
    [
        {"kind": "gift"},
        {"status": "lost"},
        {"direction": "up"},
        {"counterparty_id": "usr_1"},
        {"min_amount": 0},
        {"since": "yesterday"},
        {"memo": "!!!"},
        {"memo": ""},
    ],
)
async def test_a_question_that_means_nothing_is_refused(rest: Stage, query: dict[str, str | int]) -> None:
    person = await rest.person()
    assert (await rest.app.get(f"/v1/wallets/{person.wallet_id}/transactions", **query)).status_code == 400


async def test_the_answer_says_how_far_behind_it_is_where_that_is_known(rest: Stage) -> None:
    person = await rest.person()
    answer = await rest.app.get(f"/v1/wallets/{person.wallet_id}/transactions")
    known = await rest.backends.history_lag.seconds(0)
    assert ("Sagapay-History-Lag" in answer.headers) == (known is not None)
