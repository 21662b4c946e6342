"""The history on two databases of its own: each has its part of the wallets, each goes on without the other."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncConnection

import migrations
from commands.history import rebuild
from commands.prepare import prepare_history
from domain.errors import LedgerUnavailable, SettingsInvalid
from domain.events import Envelope
from domain.ids import WalletId, part_of
from events.history import History, list_transactions
from events.history_databases import HistoryDatabases
from events.history_lag import HistoryLag
from events.history_rebuild import behind
from ledger.local import LocalLedger
from tests.events.outbox_rows import transaction_event
from tests.events.stage import Stage, eventually, staged
from tests.money.books import pay_in_every_way
from tests.money.requests import Client
from tests.money.scratch import Database, Databases
from tests.stack.servers import Servers

LINES = "SELECT wallet_id, transaction_id, status, amount, memo_terms FROM history.wallet_transactions"
LOW, HIGH = WalletId.new(5), WalletId.new(4000)


@pytest.fixture
def parts(databases: Databases) -> Iterator[list[Database]]:
    with ExitStack() as stack:
        made = [stack.enter_context(databases.blank()) for _ in range(2)]
        for database in made:
            migrations.upgrade_history(database.url("sagapay_owner"))
            migrations.upgrade_history(database.url("sagapay_owner"))
        yield made


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path, parts: list[Database]) -> Iterator[Stage]:
    own = {
        "history_urls": tuple(part.url() for part in parts),
        "history_migration_urls": tuple(part.url("sagapay_owner") for part in parts),
    }
    with databases.shards(2) as shards, staged(shards, bare_servers.settings, tmp_path, **own) as made:
        made.start_broker()
        yield made


@pytest.fixture
async def history(stage: Stage) -> AsyncIterator[HistoryDatabases]:
    made = HistoryDatabases(stage.settings)
    yield made
    await made.aclose()


@asynccontextmanager
async def everything(stage: Stage, handlers: Sequence[History]) -> AsyncIterator[None]:
    """The relay and these consumers."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stage.relay())
        for handler in handlers:
            await stack.enter_async_context(stage.consumer(handler))
        yield


def lines(database: Database) -> list[tuple[object, ...]]:
    with database.connect() as connection:
        return sorted(connection.execute(LINES.encode()).fetchall(), key=str)


def confirmed(stage: Stage, consumer: str) -> list[tuple[object, ...]]:
    return stage.ask(f"SELECT xid::text, id FROM ledger.consumer_positions WHERE consumer = '{consumer}' AND id > 0")


async def until_there(stage: Stage, parts: Sequence[Database], **wanted: int) -> None:
    """Wait until so many lines are in each part."""
    await eventually(
        lambda: [len(lines(part)) for part in parts] == list(wanted.values()), f"{wanted} lines", seconds=30
    )


@pytest.mark.slow
async def test_each_wallet_is_on_its_part_and_a_rebuild_makes_the_same(
    stage: Stage, parts: list[Database], history: HistoryDatabases
) -> None:
    ledger = LocalLedger(stage.settings)
    client = Client(ledger)
    async with everything(stage, [History(database) for database in history.all]):
        await pay_in_every_way(client)
        there, here = await client.open_wallet(500, shard=1), await client.open_wallet(500, shard=0)
        await client.transfer(there, await client.open_wallet(shard=1), 20)
        await client.deposit(here, 300)
        engines = [shard.engine for shard in ledger.shards.all]
        async with asyncio.timeout(60):
            while True:
                if not await behind(engines, history.all):
                    break
                await asyncio.sleep(0.1)
        lag = HistoryLag(engines)
        assert {await lag.seconds(0, each.consumer) for each in history.all} == {0.0}
    right = [lines(part) for part in parts]
    for number, found in enumerate(right):
        assert found
        assert {part_of(WalletId.of(line[0]).bucket, 2) for line in found} == {number}  # type: ignore[arg-type]
    assert stage.ask(LINES) == [], "the first shard's own table"
    database = history.of(there)
    assert [item.amount for item in await list_transactions(database.engine, there, None, 9)] == [20, 500]

    with parts[0].connect() as low, parts[1].connect() as high:
        low.execute(b"DELETE FROM history.wallet_transactions WHERE amount > 400")
        high.execute(b"UPDATE history.wallet_transactions SET amount = amount + 1")
        copied = low.execute(b"SELECT * FROM history.wallet_transactions LIMIT 2").fetchall()
        marks = ", ".join(["%s"] * len(copied[0]))
        for row in copied:  # In the wrong part: as after a change of the databases' number.
            high.execute(f"INSERT INTO history.wallet_transactions VALUES ({marks})".encode(), row)
    said = StringIO()
    await rebuild(stage.settings, Console(file=said, width=100), kafka=False)
    assert [lines(part) for part in parts] == right
    assert "2 removed" in said.getvalue()
    await ledger.aclose()


async def test_one_that_is_down_holds_up_only_itself(
    stage: Stage, databases: Databases, parts: list[Database], history: HistoryDatabases
) -> None:
    def answers(database: Database, *, yes: bool) -> None:
        with psycopg.connect(f"postgresql://postgres@{databases.place}/postgres", autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS {yes}".encode())
            connection.execute(
                b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND NOT %s",
                [database.name, yes],
            )

    async with everything(stage, [History(database) for database in history.all]):
        stage.tell(*(transaction_event(sender=LOW, receiver=HIGH) for _ in range(20)))
        await until_there(stage, parts, low=20, high=20)
        answers(parts[0], yes=False)
        stage.tell(*(transaction_event(sender=LOW, receiver=HIGH) for _ in range(20)))
        await eventually(lambda: len(lines(parts[1])) == 40, "the other to go on", seconds=30)
        with pytest.raises(LedgerUnavailable):
            await list_transactions(history.of(LOW).engine, LOW, None, 5)
        answers(parts[0], yes=True)
        await until_there(stage, parts, low=40, high=40)


class DiesOnce(History):
    """The first shard goes away between the commit of the lines and that of the positions."""

    died = False

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope]) -> None:
        await super().apply(connection, envelopes)
        if not self.died and envelopes:
            self.died = True
            raise LedgerUnavailable("between two commits")


async def test_what_was_written_and_not_confirmed_comes_again_and_changes_nothing(
    stage: Stage, parts: list[Database], history: HistoryDatabases
) -> None:
    handlers = [DiesOnce(database) for database in history.all]
    async with everything(stage, handlers):
        stage.tell(*(transaction_event(sender=LOW, receiver=HIGH) for _ in range(50)))
        await until_there(stage, parts, low=50, high=50)
        await eventually(lambda: all(confirmed(stage, each.consumer) for each in history.all), "positions", seconds=30)
        assert all(handler.died for handler in handlers)
    assert [len(lines(part)) for part in parts] == [50, 50]


async def test_the_history_moves_to_databases_of_its_own(
    stage: Stage, parts: list[Database], history: HistoryDatabases
) -> None:
    ledger = LocalLedger(stage.settings)
    client = Client(ledger)
    async with everything(stage, [History()]):
        wallets = [await client.open_wallet(700, shard=shard) for shard in (0, 1, 0, 1)]
        await eventually(lambda: len(stage.ask(LINES)) == len(wallets), "the first shard's history", seconds=30)
        assert confirmed(stage, "history")
    await prepare_history(stage.settings)
    assert not confirmed(stage, "history"), "relays would keep events for it"
    await rebuild(stage.settings, Console(file=StringIO(), width=100), kafka=False)
    assert sorted(line for part in parts for line in lines(part)) == sorted(stage.ask(LINES))
    await prepare_history(stage.settings)
    await ledger.aclose()


async def test_databases_without_their_owner_are_refused(stage: Stage) -> None:
    half = stage.settings.model_copy(update={"history_migration_urls": ()})
    with pytest.raises(SettingsInvalid, match="HISTORY_MIGRATION_URLS"):
        await prepare_history(half)
