"""A database that goes away in the middle of a commit: the caller does not know, repeats its keys, and is right."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest

from domain.contracts.payments import StepResult
from domain.errors import LedgerUnavailable
from domain.transactions import Step, StepDecision, TransactionKind
from infra.settings import Settings
from ledger.invariants import verify
from ledger.local import LocalLedger
from tests.money.records import Records
from tests.money.requests import Client, again
from tests.money.scratch import Database
from tests.stack.servers import Servers

PAYMENTS = 90
MOST_ROUNDS = 20
KILL = """
    SELECT count(pg_terminate_backend(pid)) FROM (
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'sagapay_app' ORDER BY random() LIMIT 1
    ) victims
"""


async def _until_known(call: Callable[[], Awaitable[StepResult]], outages: list[str]) -> StepResult:
    while True:
        try:
            return await call()
        except LedgerUnavailable as error:
            outages.append(error.detail)
            await asyncio.sleep(0.01)


async def _take(client: Client, begun: StepResult, step: Step, outages: list[str]) -> StepResult:
    return await _until_known(lambda: client.take(begun, step), outages)


@asynccontextmanager
async def _sessions_dying(database: Database) -> AsyncIterator[None]:
    """During the block, a session of the application ends at random again and again."""
    stop = asyncio.Event()

    async def kill() -> None:
        async with await psycopg.AsyncConnection.connect(database.url("postgres"), autocommit=True) as connection:
            while not stop.is_set():
                await connection.execute(KILL)
                await asyncio.sleep(random.uniform(0.03, 0.12))

    killing = asyncio.create_task(kill())
    yield
    stop.set()
    await killing


async def test_sessions_killed_in_mid_commit_lose_and_double_nothing(
    client: Client, records: Records, ledger: LocalLedger, database: Database
) -> None:
    outages: list[str] = []
    chance = random.Random(3)
    wallets = [await client.open_wallet(100_000) for _ in range(5)]
    sent = dict.fromkeys(wallets, 0)

    async def pay() -> None:
        source, destination = chance.sample(wallets, 2)
        request = client.request(TransactionKind.TRANSFER, 10, source=source, destination=destination)
        paid = await _until_known(lambda: ledger.begin(again(request), Step.SETTLE_TRANSFER), outages)
        assert paid.decision is StepDecision.POSTED
        sent[source] += 10
        sent[destination] -= 10

    async def withdraw() -> None:
        source = chance.choice(wallets)
        request = client.request(TransactionKind.WITHDRAWAL, 7, source=source)
        begun = await _until_known(lambda: ledger.begin(again(request), Step.HOLD_WITHDRAWAL), outages)
        for step in (Step.CAPTURE_WITHDRAWAL, Step.SETTLE_WITHDRAWAL):
            await _take(client, begun, step, outages)
        sent[source] += 7

    rounds = 0
    async with _sessions_dying(database):
        while not outages and rounds < MOST_ROUNDS:  # All of a round may be paid between two deaths.
            rounds += 1
            await asyncio.gather(*(pay() for _ in range(PAYMENTS)), *(withdraw() for _ in range(PAYMENTS // 3)))
    assert outages, "nobody was killed in mid-flight: the test has shown nothing"
    money = dict(records.rows("SELECT account_id, balance - held FROM ledger.accounts WHERE kind = 'wallet'"))
    assert [money[wallet.uuid] for wallet in wallets] == [100_000 - sent[wallet] for wallet in wallets]
    payments = "SELECT count(*) FROM ledger.transactions WHERE client_id = %s AND kind = %s"
    assert records.value(payments, client.client_id.uuid, "transfer") == rounds * PAYMENTS
    assert records.value(payments, client.client_id.uuid, "withdrawal") == rounds * (PAYMENTS // 3)
    await ledger.shards.all[0].engine.dispose()  # Whose idle sessions are dead, too.
    findings = await verify(ledger.shards.all[0].engine)
    assert [(finding.name, finding.violations) for finding in findings if not finding.ok] == []


async def test_a_database_that_is_not_there_is_an_outage_not_a_bug(bare_servers: Servers) -> None:
    settings: Settings = bare_servers.settings.model_copy(
        update={"shard_urls": ("postgresql://sagapay_app@127.0.0.1:1/sagapay",)}
    )
    nowhere = LocalLedger(settings)
    client = Client(nowhere)
    with pytest.raises(LedgerUnavailable):
        await client.open_wallet()
    with pytest.raises(LedgerUnavailable):
        await nowhere.ping()
    with pytest.raises(LedgerUnavailable):
        await verify(nowhere.shards.all[0].engine)
    await nowhere.aclose()


async def test_a_statement_that_takes_too_long_is_an_outage(
    client: Client, database: Database, bare_servers: Servers
) -> None:
    wallet, other = await client.open_wallet(100), await client.open_wallet()
    hasty = LocalLedger(database.settings(bare_servers.settings, database_timeout_seconds=0.2))
    request = client.request(TransactionKind.TRANSFER, 10, source=wallet, destination=other)
    with database.connect("sagapay_app") as blocker, blocker.transaction():
        blocker.execute("SELECT FROM ledger.accounts WHERE account_id = %s FOR UPDATE", [wallet.uuid])
        with pytest.raises(LedgerUnavailable):
            await hasty.begin(request, Step.SETTLE_TRANSFER)
    paid = await hasty.begin(again(request), Step.SETTLE_TRANSFER)
    assert (paid.decision, paid.replayed) == (StepDecision.POSTED, False)
    assert (await client.money(wallet), await client.money(other)) == ((90, 0), (10, 0))
    await hasty.aclose()
