"""What a bank has moved and is no payment's: on a suspense account once, cleared once, and the bank's books agree."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from domain.contracts.suspense import Clearance, Clearing, NewSuspenseItem, SuspenseItem
from domain.errors import NotFound
from domain.ids import TransactionId
from ledger.invariants import BankBalance, Finding, verify
from ledger.local import LocalLedger
from tests.money.records import Records
from tests.money.requests import Client
from tests.money.suspense import agreed, line_of, write_off
from tests.money.write_offs import JOHN, MARIA

OUT, IN = -700, 450


def _line(client: Client, moved: int) -> NewSuspenseItem:
    """A return on the statement of the test's bank."""
    return line_of(f"ret_{uuid4().hex}", moved, client.bank)


def _clearing(item: SuspenseItem, outcome: Clearance = Clearance.CORRECTED) -> Clearing:
    return Clearing(item_id=item.item_id, outcome=outcome, by="operator:key_1", reason="called", evidence="ticket 4711")


async def _suspended(client: Client, moved: int) -> SuspenseItem:
    return await client.ledger.suspend(_line(client, moved))


async def _statements(ledger: LocalLedger, client: Client, said: int) -> Finding:
    """How the books compare where the test's bank says that; others are asked nothing of."""

    async def read_banks() -> list[BankBalance]:
        return [BankBalance(bank=client.bank, currency="USD", minor_units=said)]

    (shard,) = ledger.shards.all
    found = {finding.name: finding for finding in await verify(shard.engine, read_banks)}
    wrong = [name for name, finding in found.items() if not finding.ok and name != "bank statements"]
    assert not wrong, found
    return found["bank statements"]


def _wrong(finding: Finding, client: Client) -> list[str]:
    return [violation.detail for violation in finding.violations if violation.subject.startswith(client.bank)]


@pytest.mark.parametrize("moved", [OUT, IN])
async def test_what_a_bank_has_moved_is_in_the_books_and_in_nobodys_wallet(
    ledger: LocalLedger, client: Client, records: Records, moved: int
) -> None:
    await client.deposit(await client.open_wallet(), 1_000)
    item = await _suspended(client, moved)
    assert (records.system("bank_settlement"), records.system("suspense")) == (1_000 + moved, moved)
    assert _wrong(await _statements(ledger, client, 1_000 + moved), client) == []
    assert _wrong(await _statements(ledger, client, 1_000), client) != []
    said = dict(
        records.rows(
            "SELECT data->>'side', (data->>'amount')::int FROM ledger.outbox WHERE data->>'tx_id' = %s",
            str(item.item_id),
        )
    )
    assert said == {"DEBIT": abs(moved), "CREDIT": abs(moved)}


@pytest.mark.parametrize("moved", [OUT, IN])
async def test_corrected_it_is_gone(ledger: LocalLedger, client: Client, records: Records, moved: int) -> None:
    item = await _suspended(client, moved)
    cleared = await client.ledger.clear_suspense(_clearing(item))
    assert cleared == replace(item, cleared_as=Clearance.CORRECTED)
    assert (records.system("bank_settlement"), records.system("suspense")) == (0, 0)
    assert _wrong(await _statements(ledger, client, 0), client) == []
    assert [(line.step, line.detail) for line in await client.ledger.timeline(item.item_id)] == [
        (
            "suspend_incoming" if moved > 0 else "suspend_outgoing",
            {"reason": "return_unknown", "code": "R01", "reference": item.return_reference},
        ),
        (
            "clear_incoming" if moved > 0 else "clear_outgoing",
            {"outcome": "corrected", "by": "operator:key_1", "reason": "called", "evidence": "ticket 4711"},
        ),
    ]


@pytest.mark.parametrize("moved", [OUT, IN])
async def test_what_comes_and_goes_while_the_banks_are_asked_may_be_on_one_side_only(
    ledger: LocalLedger, client: Client, moved: int
) -> None:
    (shard,), line = ledger.shards.all, _line(client, moved)

    async def _wrong_after(said: int, *, clears: bool) -> list[str]:
        async def read_banks() -> list[BankBalance]:
            item = await client.ledger.suspend(line)
            if clears:
                await client.ledger.clear_suspense(_clearing(item))
            return [BankBalance(bank=client.bank, currency="USD", minor_units=said)]

        findings = {finding.name: finding for finding in await verify(shard.engine, read_banks)}
        return _wrong(findings["bank statements"], client)

    assert await _wrong_after(0, clears=False) == []
    assert await _wrong_after(0, clears=False) != []
    assert await _wrong_after(moved, clears=True) == []
    assert await _wrong_after(moved, clears=True) != []


async def test_read_again_and_by_many_at_once_it_is_booked_once(client: Client, records: Records) -> None:
    line = _line(client, OUT)
    items = await asyncio.gather(*(client.ledger.suspend(line) for _ in range(20)))
    assert set(items) == {await client.ledger.suspend(line)}
    assert await client.ledger.find_suspense(client.bank, line.return_reference) == items[0]
    assert records.system("suspense") == OUT


async def test_cleared_by_two_at_once_the_first_one_stays(client: Client, records: Records) -> None:
    item = await _suspended(client, OUT)
    await agreed(client.ledger, item)
    outcomes = [Clearance.CORRECTED, Clearance.MATCHED, Clearance.WRITTEN_OFF] * 7
    cleared = await asyncio.gather(*(client.ledger.clear_suspense(_clearing(item, outcome)) for outcome in outcomes))
    assert len({found.cleared_as for found in cleared}) == 1
    assert records.system("suspense") == 0


async def test_many_items_of_both_signs_at_once_add_up(ledger: LocalLedger, client: Client, records: Records) -> None:
    amounts = [amount * sign for amount in range(1, 31) for sign in (1, -1) if amount % 3 or sign > 0]
    items = await asyncio.gather(*(_suspended(client, amount) for amount in amounts))
    await asyncio.gather(*(client.ledger.clear_suspense(_clearing(item)) for item in items if item.moved % 2))
    left = sum(item.moved for item in items if not item.moved % 2)
    assert records.system("suspense") == left
    assert _wrong(await _statements(ledger, client, left), client) == []


@pytest.mark.parametrize("moved", [OUT, IN])
async def test_written_off_it_stays_at_the_bank_and_is_ours_to_bear(
    ledger: LocalLedger, client: Client, records: Records, moved: int
) -> None:
    item = await _suspended(client, moved)
    assert await write_off(client.ledger, item) == replace(item, cleared_as=Clearance.WRITTEN_OFF)
    assert (records.system("bank_settlement"), records.system("suspense")) == (moved, 0)
    assert records.system("losses") == -moved
    assert _wrong(await _statements(ledger, client, moved), client) == []
    told = [line.detail for line in await client.ledger.timeline(item.item_id) if "write_off" in str(line.step)]
    assert told == [{"outcome": "written_off", "by": MARIA, "reason": "the dispute is lost", "approved_by": JOHN}]
    again = await client.ledger.clear_suspense(_clearing(item))
    assert again.cleared_as is Clearance.WRITTEN_OFF


async def test_written_off_while_the_banks_are_asked_it_is_no_difference(ledger: LocalLedger, client: Client) -> None:
    (shard,), item = ledger.shards.all, await _suspended(client, OUT)
    await agreed(client.ledger, item)

    async def read_banks() -> list[BankBalance]:
        await client.ledger.clear_suspense(_clearing(item, Clearance.WRITTEN_OFF))
        return [BankBalance(bank=client.bank, currency="USD", minor_units=0)]

    findings = {finding.name: finding for finding in await verify(shard.engine, read_banks)}
    right = await _statements(ledger, client, OUT)
    # The banks of other tests say nothing, and only the first few violations are told.
    assert (findings["bank statements"].broken, _wrong(right, client)) == (right.broken + 1, [])


async def test_there_is_nothing_to_clear_that_was_never_suspended(client: Client) -> None:
    with pytest.raises(NotFound, match="no suspense item"):
        await client.ledger.clear_suspense(
            Clearing(item_id=TransactionId.new(5), outcome=Clearance.CORRECTED, by="a", reason="b")
        )
    assert await client.ledger.find_suspense(client.bank, "ret_unknown") is None
