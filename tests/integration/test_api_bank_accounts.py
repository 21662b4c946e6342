"""Bank accounts over their life: linked, stopped, linked again, unlinked; and what that means for payments."""

import asyncio
from typing import Any

import httpx
import psycopg
import pytest

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.bank_accounts import BankAccountStatus
from domain.contracts.payments import IdempotencyRecord
from domain.errors import LedgerUnavailable
from domain.ids import BankAccountId
from infra.secrets import Cipher, add_key, keys_file
from ledger.directory import Directory
from ledger.reencryption import SECRETS, reencrypt
from tests.rest.stage import OPENING_BALANCE, WAIT_SECONDS, Person, Stage, new_key

BY, REASON = "test", "R10"


def account_id(person: Person) -> BankAccountId:
    """The person's bank account."""
    assert person.bank_account_id
    return BankAccountId.parse(person.bank_account_id)


def path(person: Person) -> str:
    """Where the person's bank account is."""
    return f"/v1/bank-accounts/{person.bank_account_id}"


def directory_of(rest: Stage) -> Directory:
    """The directory that the API works with."""
    return rest.backends.directory


async def public_token(rest: Stage, person: Person, account: str | None = None) -> str:
    """The user says yes at the bank once more."""
    link = await rest.app.post("/v1/bank-links", {"user_id": person.user_id})
    async with rest.bank.admin() as admin:
        return (await admin.approve(link.json()["link_token"], account_id=account)).public_token


async def at_bank(rest: Stage, person: Person) -> str:
    """The id of the person's account at the bank."""
    kept = await directory_of(rest).bank_account(account_id(person))
    assert kept is not None
    async with rest.bank.admin() as admin:
        return (await admin.account(kept.account_token)).account_id


async def ended(rest: Stage, kind: str, person: Person, amount: int = 100) -> dict[str, Any]:
    """A payment as it is at its end."""
    response = await rest.app.post(f"/v1/{kind}", rest.bank_body(person, amount))
    assert response.status_code == 202, response.text
    done = await rest.app.get(response.headers["Location"], wait=WAIT_SECONDS)
    found: dict[str, Any] = done.json()
    return found


async def unlink(rest: Stage, person: Person) -> httpx.Response:
    """As the app, under a new key."""
    return await rest.app.post(f"{path(person)}/unlink", {})


def kept_secrets(connection: psycopg.Connection) -> list[str]:
    """Everything that is encrypted, as it is kept."""
    queries = [f"SELECT {of.column} FROM directory.{of.table} WHERE {of.column} IS NOT NULL" for of in SECRETS]
    return [str(value) for query in queries for (value,) in connection.execute(query.encode())]


async def test_a_stop_of_debits_is_decided_against_deposits_alone(rest: Stage) -> None:
    person = await rest.funded(1_000)
    await directory_of(rest).stop_debits(account_id(person), BY, REASON)
    body = rest.bank_body(person)
    first = await rest.app.post("/v1/deposits", body, key="one-key")
    assert (first.status_code, first.json()["status"]) == (202, "failed")
    assert first.json()["failure"]["code"] == "bank_account_inactive"
    assert (await rest.app.post("/v1/deposits", body, key="one-key")).json() == first.json()
    assert (await ended(rest, "withdrawals", person))["status"] == "succeeded"
    assert await rest.posted(person) == 900


async def test_an_account_is_linked_again_under_its_id(rest: Stage) -> None:
    person = await rest.funded(1_000)
    before = await directory_of(rest).bank_account(account_id(person))
    assert before is not None
    token = await public_token(rest, person, await at_bank(rest, person))
    await directory_of(rest).require_relink(account_id(person), BY, "R02")
    assert (await ended(rest, "withdrawals", person))["failure"]["code"] == "bank_account_inactive"
    again = await rest.app.post(f"{path(person)}/relink", {"public_token": token}, key="again")
    assert (again.status_code, again.json()["status"]) == (200, "active")
    replayed = await rest.app.post(f"{path(person)}/relink", {"public_token": token}, key="again")
    assert replayed.headers["Idempotent-Replayed"] == "true"
    after = await directory_of(rest).bank_account(account_id(person))
    assert after is not None
    assert after.account_token != before.account_token
    assert (await ended(rest, "deposits", person))["status"] == "succeeded"
    changes = await directory_of(rest).bank_account_changes(account_id(person))
    assert [change.status for change in changes] == ["active", "relink_required", "active"]


async def test_another_account_does_not_take_its_place(rest: Stage) -> None:
    person, stranger = await rest.linked(), await rest.linked()
    other = await rest.app.post(f"{path(person)}/relink", {"public_token": await public_token(rest, stranger)})
    assert (other.status_code, other.json()["code"]) == (422, "bank_link_refused")
    fresh = await public_token(rest, person)
    kept = await directory_of(rest).bank_account(account_id(person))
    assert kept is not None
    async with rest.bank.admin() as admin:
        mask = [item.mask async for item in admin.accounts()]
    if mask.count(kept.mask) == 1:  # Four digits are sometimes the same.
        refused = await rest.app.post(f"{path(person)}/relink", {"public_token": fresh})
        assert (refused.status_code, refused.json()["code"]) == (422, "bank_link_refused")


@pytest.mark.parametrize(
    ("code", "status"), [("R01", "active"), ("R02", "relink_required"), ("R29", "debits_stopped"), ("S01", "active")]
)
async def test_a_refusal_stops_what_its_code_forbids(rest: Stage, code: str, status: str) -> None:
    person = await rest.linked()
    account = await at_bank(rest, person)
    async with rest.bank.admin() as admin:
        await admin.set_fault(FaultKind.REFUSE, operation=Operation.PULL, account=account, times=1, code=code)
    assert (await ended(rest, "deposits", person))["failure"]["code"] == "bank_refused"
    assert (await rest.app.get(path(person))).json()["status"] == status


async def test_a_foreign_account_is_not_found(rest: Stage) -> None:
    person = await rest.linked()
    assert (await rest.other.post(f"{path(person)}/unlink", {})).status_code == 404
    assert (await rest.other.post(f"{path(person)}/relink", {"public_token": "public-x"})).status_code == 404


async def test_unlinking_forgets_the_token_and_linking_anew_gives_another_id(rest: Stage) -> None:
    person = await rest.funded(1_000)
    bank_account = await at_bank(rest, person)
    done = await unlink(rest, person)
    assert (done.status_code, done.json()["status"]) == (200, "unlinked")
    assert (await unlink(rest, person)).json() == done.json()
    kept = await directory_of(rest).bank_account(account_id(person))
    assert kept is not None
    assert kept.account_token == ""
    assert (await ended(rest, "deposits", person))["failure"]["code"] == "bank_account_inactive"
    token = await public_token(rest, person, bank_account)
    refused = await rest.app.post(f"{path(person)}/relink", {"public_token": token})
    assert (refused.status_code, refused.json()["code"]) == (409, "cannot_link")
    anew = await rest.app.post("/v1/bank-accounts", {"user_id": person.user_id, "public_token": token})
    assert anew.status_code == 201
    assert anew.json()["bank_account_id"] != person.bank_account_id


async def test_money_in_flight_keeps_the_link(rest: Stage) -> None:
    person = await rest.linked()
    account = await at_bank(rest, person)
    async with rest.bank.admin() as admin:
        fault = await admin.set_fault(FaultKind.DOWN, operation=Operation.PULL, account=account)
        deposit = await rest.app.post("/v1/deposits", rest.bank_body(person, 500))
        refused = await unlink(rest, person)
        assert (refused.status_code, refused.json()["code"]) == (409, "bank_account_in_use")
        await admin.remove_fault(fault.fault_id)
    done = await rest.app.get(deposit.headers["Location"], wait=WAIT_SECONDS)
    assert done.json()["status"] == "succeeded"
    assert (await unlink(rest, person)).status_code == 200


async def test_a_race_of_unlinking_and_paying_has_one_winner(rest: Stage) -> None:
    people = await asyncio.gather(*(rest.linked() for _ in range(6)))
    raced = await asyncio.gather(
        *(
            asyncio.gather(rest.app.post("/v1/deposits", rest.bank_body(person, 700)), unlink(rest, person))
            for person in people
        )
    )
    for person, (deposit, unlinked) in zip(people, raced, strict=True):
        final = (await rest.app.get(deposit.headers["Location"], wait=WAIT_SECONDS)).json()
        status = (await rest.app.get(path(person))).json()["status"]
        if unlinked.status_code == 409:
            assert (final["status"], status, await rest.posted(person)) == ("succeeded", "active", 700)
        else:
            # Unlinked before it was sent, or after it had ended.
            assert status == "unlinked"
            assert await rest.posted(person) == (700 if final["status"] == "succeeded" else 0)
            assert final["status"] == "succeeded" or final["failure"]["code"] == "bank_account_inactive"


async def test_a_payment_and_a_stop_at_the_same_moment_agree_with_the_bank(rest: Stage) -> None:
    person = await rest.linked()
    account = await at_bank(rest, person)
    deposit = await rest.app.post("/v1/deposits", rest.bank_body(person, 700))
    await directory_of(rest).stop_debits(account_id(person), BY, REASON)
    final = (await rest.app.get(deposit.headers["Location"], wait=WAIT_SECONDS)).json()
    async with rest.bank.admin() as admin:
        balance = (await admin.account(account)).balance
    # The bank had it before the stop, or never gets it: the same on both sides of the books.
    moved = 700 if final["status"] == "succeeded" else 0
    assert moved or final["failure"]["code"] == "bank_account_inactive"
    assert (await rest.posted(person), balance) == (moved, OPENING_BALANCE - moved)


async def test_an_operator_stop_is_kept_with_its_reason_and_never_loosens(rest: Stage) -> None:
    person, directory = await rest.linked(), directory_of(rest)
    await directory.require_relink(account_id(person), BY, "R16")
    assert (await directory.stop_debits(account_id(person), BY, REASON)).status is BankAccountStatus.RELINK_REQUIRED
    changes = await directory.bank_account_changes(account_id(person))
    assert [(change.status.value, change.by, change.reason) for change in changes][1:] == [
        ("relink_required", BY, "R16")
    ]


async def test_the_database_refuses_to_bring_an_unlinked_account_back(rest: Stage) -> None:
    person = await rest.linked()
    await unlink(rest, person)
    again = "UPDATE directory.bank_accounts SET status = 'active' WHERE bank_account_id = %s"
    with (
        psycopg.connect(rest.settings.shard_urls[0], autocommit=True) as connection,
        pytest.raises(psycopg.errors.CheckViolation),
    ):
        connection.execute(again, (account_id(person).uuid.hex,))


async def test_a_failing_question_to_the_ledger_unlinks_nothing(rest: Stage) -> None:
    person = await rest.linked()

    key = IdempotencyRecord(key_digest=new_key(), fingerprint="ab" * 32)

    async def no_answer() -> bool:
        raise LedgerUnavailable

    with pytest.raises(LedgerUnavailable):
        await directory_of(rest).unlink(account_id(person), BY, no_answer, key)
    assert (await rest.app.get(path(person))).json()["status"] == "active"


async def test_tokens_are_encrypted_at_rest_and_brought_under_a_new_key(rest: Stage) -> None:
    person = await rest.linked()
    kept = await directory_of(rest).bank_account(account_id(person))
    assert kept is not None
    newest = add_key(keys_file(rest.settings))
    with psycopg.connect(rest.settings.shard_urls[0], autocommit=True) as connection:
        at_rest = kept_secrets(connection)
        assert not [value for value in at_rest if kept.account_token in value or value.startswith(("link_", "at_"))]
        rotated = Cipher(keys_file(rest.settings))
        assert await reencrypt(rest.backends.engine, rotated) == len(at_rest)
        assert await reencrypt(rest.backends.engine, rotated) == 0
        assert {value.partition(".")[0] for value in kept_secrets(connection)} == {newest}
    assert (await ended(rest, "deposits", person))["status"] == "succeeded"
