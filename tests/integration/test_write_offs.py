"""Debts that are written off: by two people, once, never more than is owed at that moment, and the books agree."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest

from domain.contracts.wallets import ChangeKind
from domain.contracts.write_offs import WriteOff, WriteOffState
from domain.errors import CannotApprove, CannotWriteOff, IdempotencyKeyReused, NotFound
from domain.ids import TransactionId, WalletId
from domain.transactions import Step
from ledger.invariants import verify
from ledger.local import LocalLedger
from tests.money.records import Records
from tests.money.requests import Client, change_wallet
from tests.money.scratch import Database
from tests.money.write_offs import EVE, JOHN, MARIA, asking, owing


async def approve(client: Client, asked: WriteOff, by: str = JOHN) -> WriteOff:
    """Somebody agrees."""
    return await client.ledger.approve_write_off(asked.write_off_id, by, "seen the letter")


async def sound(ledger: LocalLedger) -> bool:
    """Whether every invariant holds."""
    return all(finding.ok for finding in await verify(ledger.shards.all[0].engine))


def losses(records: Records) -> int:
    """What we have borne."""
    return records.value("SELECT coalesce(sum(balance), 0)::bigint FROM ledger.accounts WHERE kind = 'losses'")


async def test_two_people_write_a_debt_off_and_the_wallet_pays_again(
    ledger: LocalLedger, client: Client, records: Records
) -> None:
    wallet, before = await owing(client, 300), losses(records)
    asked = await client.ledger.ask_write_off(asking(wallet))
    assert (asked.state, asked.amount.minor_units, asked.written_off) == (WriteOffState.ASKED, 300, None)
    assert ((await client.wallet(wallet)).owed, losses(records)) == (300, before)
    done = await approve(client, asked)
    assert done == replace(
        asked, state=WriteOffState.APPROVED, written_off=300, ended_by=JOHN, note="seen the letter", replayed=False
    )
    assert ((await client.wallet(wallet)).owed, losses(records)) == (0, before + 300)
    (line,) = await client.ledger.timeline(asked.write_off_id)
    assert (line.step, line.detail) == (
        Step.WRITE_OFF_DEBT,
        {
            "wallet": wallet,
            "by": MARIA,
            "reason": "insolvent",
            "evidence": "letter of 3 March",
            "approved_by": JOHN,
            "note": "seen the letter",
        },
    )
    await client.deposit(wallet, 50)
    assert (await client.transfer(wallet, await client.open_wallet(), 50)).failure is None
    assert await sound(ledger)


async def test_a_part_is_written_off_and_the_rest_is_owed(ledger: LocalLedger, client: Client) -> None:
    wallet = await owing(client, 300)
    await approve(client, await client.ledger.ask_write_off(asking(wallet, 120)))
    assert (await client.wallet(wallet)).owed == 180
    assert await sound(ledger)


async def test_what_a_credit_has_paid_meanwhile_is_not_written_off(ledger: LocalLedger, client: Client) -> None:
    wallet = await owing(client, 300)
    asked = await client.ledger.ask_write_off(asking(wallet))
    await client.deposit(wallet, 250)
    assert (await approve(client, asked)).written_off == 50
    assert (await client.wallet(wallet)).owed == 0
    assert await sound(ledger)


async def test_what_is_paid_whole_is_not_written_off_at_all(client: Client) -> None:
    wallet = await owing(client, 300)
    asked = await client.ledger.ask_write_off(asking(wallet))
    await client.deposit(wallet, 300)
    with pytest.raises(CannotApprove, match="owes nothing any more"):
        await approve(client, asked)
    withdrawn = await client.ledger.withdraw_write_off(asked.write_off_id, EVE, "paid")
    assert (withdrawn.state, withdrawn.ended_by, withdrawn.note) == (WriteOffState.WITHDRAWN, EVE, "paid")


async def test_more_than_is_owed_is_not_asked_for(client: Client, records: Records) -> None:
    wallet = await owing(client, 300)
    with pytest.raises(CannotWriteOff, match=r"owes 3\.00 USD"):
        await client.ledger.ask_write_off(asking(wallet, 301))
    with pytest.raises(CannotWriteOff):
        await client.ledger.ask_write_off(asking(await client.open_wallet(10)))
    with pytest.raises(NotFound, match="no wallet"):
        await client.ledger.ask_write_off(asking(WalletId.new(wallet.bucket)))
    assert await client.ledger.write_offs(wallet, waiting=False, after=None, limit=10) == []
    with pytest.raises(NotFound, match="no write-off"):
        await client.ledger.approve_write_off(TransactionId.new(wallet.bucket), JOHN, "why")
    with pytest.raises(NotFound, match="no write-off"):
        await client.ledger.withdraw_write_off(TransactionId.new(wallet.bucket), JOHN, "why")


async def test_one_person_alone_writes_nothing_off(client: Client, database: Database) -> None:
    wallet = await owing(client, 300)
    asked = await client.ledger.ask_write_off(asking(wallet))
    with pytest.raises(CannotApprove, match="another operator's key"):
        await approve(client, asked, MARIA)
    assert (await client.wallet(wallet)).owed == 300
    # Nor does the database let anybody say so.
    with database.connect() as connection, pytest.raises(psycopg.Error, match="wants two people"):
        connection.execute(
            "INSERT INTO ledger.write_off_marks VALUES (%s, 'approved', %s, '', 300)",
            (asked.write_off_id.uuid, MARIA),
        )


async def test_one_key_asks_once(client: Client) -> None:
    wallet = await owing(client, 300)
    wanted = asking(wallet, 100)
    answers = await asyncio.gather(*(client.ledger.ask_write_off(wanted) for _ in range(10)))
    assert len({answer.write_off_id for answer in answers}) == 1
    await approve(client, answers[0])
    again = await client.ledger.ask_write_off(wanted)
    assert (again.state, again.replayed) == (WriteOffState.APPROVED, True)
    other = replace(wanted, minor_units=200, key=replace(wanted.key, fingerprint=uuid4().hex * 2))
    with pytest.raises(IdempotencyKeyReused):
        await client.ledger.ask_write_off(other)


async def test_approved_by_many_at_once_and_paid_meanwhile_it_is_written_off_once(
    ledger: LocalLedger, client: Client, records: Records
) -> None:
    wallet, before = await owing(client, 300), losses(records)
    asked = await client.ledger.ask_write_off(asking(wallet))
    payer = await client.open_wallet(1_000)
    paid = [client.transfer(payer, wallet, 10) for _ in range(10)]
    approvals = [approve(client, asked, by) for by in (JOHN, EVE) * 5]
    withdrawals = [client.ledger.withdraw_write_off(asked.write_off_id, EVE, "no")]
    outcomes = await asyncio.gather(*paid, *approvals, *withdrawals, return_exceptions=True)
    assert not [each for each in outcomes if isinstance(each, Exception) and not isinstance(each, CannotApprove)]
    (ended,) = await client.ledger.write_offs(wallet, waiting=False, after=None, limit=10)
    written_off = ended.written_off or 0
    found = await client.wallet(wallet)
    assert found.owed - found.posted == 300 - 100 - written_off
    assert losses(records) == before + written_off
    assert await sound(ledger)


async def test_those_that_wait_are_listed_in_pages(client: Client) -> None:
    wallet = await owing(client, 300)
    asked = [await client.ledger.ask_write_off(asking(wallet, amount)) for amount in (10, 20, 30)]
    await approve(client, asked[0])
    listed = await client.ledger.write_offs(wallet, waiting=True, after=None, limit=10)
    assert [each.amount.minor_units for each in listed] == [20, 30]
    (first,) = await client.ledger.write_offs(wallet, waiting=False, after=None, limit=1)
    rest = await client.ledger.write_offs(wallet, waiting=False, after=first.write_off_id, limit=10)
    assert [each.write_off_id for each in (first, *rest)] == [each.write_off_id for each in asked]
    everywhere = await client.ledger.write_offs(None, waiting=True, after=None, limit=200)
    assert {each.write_off_id for each in everywhere} >= {each.write_off_id for each in asked[1:]}


async def test_a_wallet_whose_debt_is_written_off_can_be_closed(ledger: LocalLedger, client: Client) -> None:
    wallet = await owing(client, 300)
    await approve(client, await client.ledger.ask_write_off(asking(wallet)))
    await change_wallet(ledger, wallet, ChangeKind.CLOSE)
    assert await sound(ledger)
