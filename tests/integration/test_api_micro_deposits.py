"""Linking by number: two small amounts that the user names, few tries, an end on business time, and no cent off."""

from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from bank_adapters.linking import MicroDepositBank
from bank_adapters.simulator.faults import FaultKind, Operation
from bank_adapters.simulator.models import AccountView
from domain.contracts.payments import IdempotencyRecord
from domain.errors import CannotLink
from domain.ids import BankAccountId
from infra.secrets import Cipher
from tests.rest.stage import WAIT_SECONDS, Person, Stage, new_key

SEND = "/v1/micro-deposits"


async def account_at_bank(rest: Stage, opening_balance: int = 1_000_00) -> AccountView:
    """An account of somebody who has one at the bank."""
    bank = rest.backends.bank(None)
    async with rest.bank.admin() as admin:
        link = await bank.create_link_token("somebody")
        approval = await admin.approve(link.link_token, opening_balance=opening_balance)
        return await admin.account(approval.account_id)


def body(person: Person, account: AccountView) -> dict[str, str]:
    """What the user types."""
    return {
        "user_id": person.user_id,
        "routing_number": account.routing_number,
        "account_number": account.account_number,
        "holder_name": "Ada Lovelace",
    }


def amounts(rest: Stage, bank_account_id: str) -> list[int]:
    """What was sent, as the directory keeps it encrypted."""
    uuid = BankAccountId.parse(bank_account_id).uuid
    with psycopg.connect(rest.settings.shard_urls[0], autocommit=True) as connection:
        query = "SELECT amounts FROM directory.micro_deposits WHERE bank_account_id = %s"
        row = connection.execute(query, (uuid.hex,)).fetchone()
    assert row is not None
    kept = Cipher.from_settings(rest.settings).decrypt(str(row[0]), f"micro_deposits.amounts:{uuid}")
    return [int(amount) for amount in kept.split()]


async def verify(rest: Stage, bank_account_id: str, named: list[int], key: str | None = None) -> httpx.Response:
    """The user names two amounts."""
    return await rest.app.post(f"/v1/bank-accounts/{bank_account_id}/verify", {"amounts": named}, key=key)


async def pending(rest: Stage) -> tuple[Person, str]:
    """A user and their account, whose micro-deposits are sent."""
    person = await rest.person()
    response = await rest.app.post(SEND, body(person, await account_at_bank(rest)))
    assert (response.status_code, response.json()["status"]) == (201, "pending_verification"), response.text
    return person, response.json()["bank_account_id"]


async def test_the_right_amounts_make_the_account_active(rest: Stage) -> None:
    person, bank_account_id = await pending(rest)
    payer = Person(person.user_id, person.wallet_id, bank_account_id)
    early = await rest.app.post("/v1/deposits", rest.bank_body(payer, 500))
    assert early.json()["failure"]["code"] == "bank_account_inactive"
    sent = amounts(rest, bank_account_id)
    done = await verify(rest, bank_account_id, sent[::-1], key="right")
    assert (done.status_code, done.json()["status"]) == (200, "active")
    assert (await verify(rest, bank_account_id, sent[::-1], key="right")).json() == done.json()
    deposit = await rest.app.post("/v1/deposits", rest.bank_body(payer, 500))
    final = await rest.app.get(deposit.headers["Location"], wait=WAIT_SECONDS)
    assert (final.json()["status"], await rest.posted(payer)) == ("succeeded", 500)


async def test_both_statements_show_them_and_no_cent_is_off(rest: Stage) -> None:
    bank, account = rest.backends.bank(None), await account_at_bank(rest, opening_balance=0)
    person = await rest.person()
    async with rest.bank.admin() as admin:
        before = await admin.totals()
        since = datetime.now(UTC) - timedelta(seconds=1)
        response = await rest.app.post(SEND, body(person, account))
        sent = amounts(rest, response.json()["bank_account_id"])
        lines = [line async for line in bank.statement("USD", since=since, until=since + timedelta(minutes=5))]
        after = await admin.totals()
        assert (await admin.account(account.account_id)).balance == 0
        assert (await admin.books()).balanced
    ours = [line.minor_units for line in lines if line.reference.startswith("micro:")][-3:]
    assert sorted(ours) == sorted([-sent[0], -sent[1], sum(sent)])
    assert before is not None
    assert after is not None
    assert before.settlement_balance == after.settlement_balance
    assert 1 <= min(sent) < max(sent) <= 99


async def test_tries_are_limited_and_a_repeated_request_costs_none(rest: Stage) -> None:
    _, bank_account_id = await pending(rest)
    wrong = [max(amounts(rest, bank_account_id)) + 1, 1]
    first = await verify(rest, bank_account_id, wrong, key="wrong")
    repeated = await verify(rest, bank_account_id, wrong, key="wrong")
    assert first.status_code == repeated.status_code == 422
    assert first.json()["code"] == "micro_deposits_wrong"
    assert "2" in first.json()["detail"]
    assert first.json()["detail"] == repeated.json()["detail"]
    assert (await verify(rest, bank_account_id, wrong)).status_code == 422
    last = await verify(rest, bank_account_id, wrong)
    assert (last.status_code, last.json()["code"]) == (409, "cannot_link")
    too_late = await verify(rest, bank_account_id, amounts(rest, bank_account_id))
    assert (too_late.status_code, too_late.json()["code"]) == (409, "cannot_link")
    assert (await rest.app.get(f"/v1/bank-accounts/{bank_account_id}")).json()["status"] == "verification_failed"


async def test_after_its_time_the_right_amounts_come_too_late(rest: Stage) -> None:
    _, name = await pending(rest)
    bank_account_id, sent = BankAccountId.parse(name), amounts(rest, name)
    key = IdempotencyRecord(key_digest=new_key(), fingerprint="ab" * 32)
    late = rest.backends.clock.now() + timedelta(days=40)
    with pytest.raises(CannotLink, match="in time"):
        await rest.backends.micro_deposits.confirm(bank_account_id, (sent[0], sent[1]), at=late, by="test", key=key)
    assert (await rest.app.get(f"/v1/bank-accounts/{name}")).json()["status"] == "verification_failed"


async def test_a_lost_answer_is_asked_for_again_and_nothing_is_sent_twice(rest: Stage) -> None:
    person, account = await rest.person(), await account_at_bank(rest)
    async with rest.bank.admin() as admin:
        fault = await admin.set_fault(FaultKind.ERROR_AFTER, operation=Operation.LINK, times=1)
        lost = await rest.app.post(SEND, body(person, account), key="lost")
        assert (lost.status_code, lost.json()["code"]) == (503, "bank_unknown")
        await admin.remove_fault(fault.fault_id)
    again = await rest.app.post(SEND, body(person, account), key="lost")
    replayed = await rest.app.post(SEND, body(person, account), key="lost")
    assert (again.status_code, replayed.status_code) == (201, 201)
    assert replayed.headers["Idempotent-Replayed"] == "true"
    assert again.json() == replayed.json()
    now = datetime.now(UTC)
    bank = rest.backends.bank(None)
    window = {"since": now - timedelta(seconds=60), "until": now + timedelta(seconds=60)}
    references = [line.reference async for line in bank.statement("USD", **window)]
    assert len(references) == len(set(references))


async def test_a_number_that_the_bank_does_not_know_is_refused(rest: Stage) -> None:
    person, account = await rest.person(), await account_at_bank(rest)
    wrong = {**body(person, account), "routing_number": "000000000"}
    refused = await rest.app.post(SEND, wrong)
    assert (refused.status_code, refused.json()["code"]) == (422, "bank_link_refused")


async def test_the_number_is_kept_nowhere(rest: Stage) -> None:
    person, account = await rest.person(), await account_at_bank(rest)
    response = await rest.app.post(SEND, body(person, account))
    assert account.account_number not in response.text
    assert response.json()["mask"] == account.account_number[-4:]
    tables = ("bank_accounts", "micro_deposits", "bank_account_changes", "request_keys", "bank_links")
    with psycopg.connect(rest.settings.shard_urls[0], autocommit=True) as connection:
        for table in tables:
            query = f"SELECT count(*) FROM directory.{table} t WHERE t::text LIKE %s"
            row = connection.execute(query.encode(), (f"%{account.account_number}%",)).fetchone()
            assert row == (0,), table


def test_the_simulated_bank_can_link_by_number(rest: Stage) -> None:
    assert isinstance(rest.backends.bank(None), MicroDepositBank)
