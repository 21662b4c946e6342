"""The production invariants: silent on sound books, and each heard on the one record that breaks it."""

from collections.abc import AsyncIterator

from ledger.invariants import verify
from ledger.local import LocalLedger
from tests.money.requests import Client


async def test_an_empty_ledger_is_sound(ledger: LocalLedger) -> None:
    findings = await verify(ledger.shards.all[0].engine)
    assert [finding for finding in findings if not finding.ok] == []


async def test_it(client: Client, ledger: LocalLedger) -> None:
    a = await client.open_wallet(1000)
    b = await client.open_wallet()
    await client.transfer(a, b, 300)
    await client.withdraw(b, 100)
    findings = await verify(ledger.shards.all[0].engine)
    assert [finding for finding in findings if not finding.ok] == []
