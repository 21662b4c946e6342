"""The production invariants: silent on sound books, and each heard on the record that breaks it."""

from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.transactions import Step
from infra.database import make_engine
from ledger.batches import Batches
from ledger.invariants import INVARIANTS, BankBalance, Finding, verify
from ledger.invariants.banks import Statements
from ledger.invariants.verify import examine, silent
from ledger.local import LocalLedger
from tests.money.batches import pay_batch
from tests.money.books import CAPTURED, CREDITED, HELD, RECORDED, SETTLED, pay_in_every_way
from tests.money.corruptions import CORRUPTIONS, Corruption
from tests.money.deferring import AT_ONCE, ach_deposit
from tests.money.holds import HOLDER, hold_in_every_way
from tests.money.requests import BANK, Client
from tests.money.scratch import Database, Databases
from tests.money.suspense import SUSPENSE_CORRUPTIONS, suspend_in_every_way
from tests.money.wallet_corruptions import WALLET_CORRUPTIONS
from tests.money.write_offs import WRITE_OFF_CORRUPTIONS, write_off_in_every_way
from tests.stack.servers import Servers

ALL_CORRUPTIONS = CORRUPTIONS + WALLET_CORRUPTIONS + SUSPENSE_CORRUPTIONS + WRITE_OFF_CORRUPTIONS
BATCH_PAYER = 100
"""Deposited by whoever pays the batch, in minor units."""
WAITS = AT_ONCE + 7
"""Deposited by whom not all of it is available to."""


@pytest.fixture(scope="module")
async def payments(database: Database, bare_servers: Servers) -> dict[str, str]:
    """The module's database with those books, a batch and holds, nobody connected; their UUIDs, quoted for SQL."""
    service = LocalLedger(database.settings(bare_servers.settings))
    client = Client(service)
    paid = await pay_in_every_way(client)
    payer, paid_one = await client.open_wallet(BATCH_PAYER), await client.open_wallet()
    await pay_batch(client, Batches(service.shards), payer, [(paid_one, 40), (paid_one, 999), (paid_one, 60)])
    holds = await hold_in_every_way(client)
    paid |= {
        "waiting deposit": await ach_deposit(client, paid_one, AT_ONCE + 7),
        "forfeited deposit": await ach_deposit(client, paid_one, AT_ONCE + 8),
    }
    await client.take_back(paid["forfeited deposit"], Step.RETURN_DEPOSIT)
    items = await suspend_in_every_way(service) | await write_off_in_every_way(client)
    await service.aclose()
    ids = items | {what: result.transaction_id.uuid for what, result in paid.items()}
    return {what: f"'{found}'" for what, found in (ids | holds).items()}


@pytest.fixture(scope="module")
async def engine(database: Database, payments: dict[str, str], bare_servers: Servers) -> AsyncIterator[AsyncEngine]:
    """Those books, as the application's role reads them."""
    assert payments
    made = make_engine(database.url(), bare_servers.settings)
    yield made
    await made.dispose()


@pytest.fixture
async def spoiled(database: Database, bare_servers: Servers) -> AsyncIterator[AsyncConnection]:
    """Those books as a superuser may spoil them, with every trigger off; nothing of it is ever committed."""
    made = make_engine(database.url("postgres"), bare_servers.settings)
    async with made.connect() as connection:
        await connection.execute(text("SET session_replication_role = replica"))
        yield connection
        await connection.rollback()
    await made.dispose()


async def _spoil(connection: AsyncConnection, script: str) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, psycopg.AsyncConnection)
    cursor = await driver.execute(script.encode())
    while True:
        assert cursor.rowcount != 0, f"a statement changed nothing: {script}"
        if not cursor.nextset():
            break


def _broken(findings: Sequence[Finding]) -> set[str]:
    return {finding.name for finding in findings if not finding.ok}


async def test_sound_books_are_clean_and_everything_was_looked_at(engine: AsyncEngine) -> None:
    findings = await verify(engine)
    assert _broken(findings) == set()
    assert {finding.number for finding in findings} == set(range(1, 12))
    # Nobody was asked, and the note says so.
    assert {finding.name for finding in findings if finding.checked == 0} == {"bank statements"}
    assert [finding.note for finding in findings if finding.note] == ["no bank was asked"]


async def test_an_empty_ledger_is_sound(databases: Databases, bare_servers: Servers) -> None:
    with databases.copy() as fresh:
        made = make_engine(fresh.url(), bare_servers.settings)
        assert _broken(await verify(made)) == set()
        await made.dispose()


async def test_progress_counts_up_to_its_total(engine: AsyncEngine) -> None:
    seen: list[tuple[int, int]] = []
    await verify(engine, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, seen[0][1])
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (seen[0][1], seen[0][1])


@pytest.mark.parametrize(
    "corruption",
    ALL_CORRUPTIONS,
    ids=lambda corruption: corruption.what,
)
async def test_a_corruption_is_found(
    corruption: Corruption, spoiled: AsyncConnection, payments: dict[str, str]
) -> None:
    script = corruption.sql
    for name, value in payments.items():
        script = script.replace("{" + name + "}", value)
    await _spoil(spoiled, script)
    findings = await examine(spoiled, Statements(), silent)
    assert _broken(findings) == corruption.breaks
    for finding in findings:
        assert len(finding.violations) == min(finding.broken, 5)
        assert all(violation.subject and violation.detail for violation in finding.violations)


def test_every_invariant_is_heard() -> None:
    heard = {name for corruption in ALL_CORRUPTIONS for name in corruption.breaks}
    assert heard == {invariant.name for invariant in INVARIANTS}


async def _said(engine: AsyncEngine, *balances: BankBalance) -> Finding:
    async def read_banks() -> Sequence[BankBalance]:
        return balances

    (finding,) = [finding for finding in await verify(engine, read_banks) if finding.name == "bank statements"]
    return finding


async def test_a_bank_differs_by_payments_in_flight_at_most(engine: AsyncEngine) -> None:
    in_flight = {
        0: True,
        CREDITED + RECORDED: True,  # Both open deposits may be settled at the bank already,
        CREDITED + RECORDED + 1: False,
        -(CAPTURED + HELD): True,  # and both open withdrawals.
        -(CAPTURED + HELD) - 1: False,
    }
    for difference, sound in in_flight.items():
        settled = SETTLED + WAITS + BATCH_PAYER + HOLDER
        finding = await _said(engine, BankBalance(bank=BANK, currency="USD", minor_units=settled + difference))
        assert finding.ok is sound
        assert finding.note == "4 payments in flight may be on one side only"


async def test_with_nothing_in_flight_a_bank_is_exact_to_the_cent(databases: Databases, bare_servers: Servers) -> None:
    with databases.copy() as fresh:
        service = LocalLedger(fresh.settings(bare_servers.settings))
        client = Client(service)
        await client.withdraw(await client.open_wallet(10_000), 1)
        engine = service.shards.all[0].engine
        right = BankBalance(bank=BANK, currency="USD", minor_units=9_999)
        exact = await _said(engine, right)
        assert (exact.ok, exact.note, exact.checked) == (True, "", 1)
        for wrong in (9_998, 10_000):
            off = await _said(engine, BankBalance(bank=BANK, currency="USD", minor_units=wrong))
            assert [violation.subject for violation in off.violations] == [f"{BANK} USD"]
        silent = await _said(engine)
        assert [v.detail for v in silent.violations] == ["the bank gave no balance, our settlement accounts 9999"]
        stranger = BankBalance(bank="other", currency="USD", minor_units=5)
        both = await _said(engine, right, stranger)
        assert [v.detail for v in both.violations] == ["the bank says 5, our settlement accounts 0"]
        await service.aclose()
