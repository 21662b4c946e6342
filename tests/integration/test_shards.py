"""Shards: which database has what, and databases that were made for another number of them."""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

import migrations
from domain.errors import SettingsInvalid
from domain.ids import BUCKETS, ClientId, UserId, WalletId
from ledger.local import LocalLedger
from ledger.shards import buckets_of, shard_of
from tests.money.requests import Client
from tests.money.scratch import Database, Databases, settings_of
from tests.stack.servers import Servers


@pytest.fixture(scope="module")
def pair(databases: Databases) -> Iterator[list[Database]]:
    """Two shards of this module's own."""
    with databases.shards(2) as made:
        yield made


@pytest.fixture(scope="module")
async def ledger(pair: list[Database], bare_servers: Servers) -> AsyncIterator[LocalLedger]:
    """The ledger's service on them."""
    service = LocalLedger(settings_of(pair, bare_servers.settings))
    yield service
    await service.aclose()


def _schemas(database: Database) -> set[str]:
    with database.connect() as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace").fetchall()
    return {name for (name,) in rows} & {"ledger", "directory", "history"}


def test_buckets_are_cut_into_equal_ranges() -> None:
    for shards in (1, 2, 3, 4, 7, 64):
        ranges = [buckets_of(shard, shards) for shard in range(shards)]
        assert [bucket for part in ranges for bucket in part] == list(range(BUCKETS))
        assert max(map(len, ranges)) - min(map(len, ranges)) <= 1
        assert all(shard_of(bucket, shards) == shard for shard, part in enumerate(ranges) for bucket in part)


def test_directory_and_history_are_beside_the_first_shard_alone(pair: list[Database]) -> None:
    assert [_schemas(database) for database in pair] == [{"ledger", "directory", "history"}, {"ledger"}]


async def test_a_wallet_is_kept_on_the_shard_of_its_bucket(ledger: LocalLedger, pair: list[Database]) -> None:
    for shard, bucket in ((0, 0), (0, 2047), (1, 2048), (1, 4095)):
        wallet_id = WalletId.new(bucket)
        await ledger.open_wallet(wallet_id, UserId.new(bucket), ClientId.new(0), "USD")
        assert await ledger.wallet(wallet_id) is not None
        for number, database in enumerate(pair):
            with database.connect() as connection:
                query = "SELECT FROM ledger.accounts WHERE account_id = %s"
                found = connection.execute(query, [wallet_id.uuid]).rowcount
            assert found == (number == shard)


def test_databases_are_not_used_as_other_shards_than_they_were_made_as(pair: list[Database]) -> None:
    zero, one = (database.url("sagapay_owner") for database in pair)
    migrations.upgrade_all([zero, one])
    for wrong in ([one, zero], [zero], [zero, one, "postgresql://sagapay_owner@127.0.0.1:1/none"]):
        with pytest.raises(SettingsInvalid, match=r"was made as shard \d of 2") as refused:
            migrations.upgrade_all(wrong)
        assert "SAGAPAY_LOCAL_SHARDS=2" in refused.value.detail


def test_books_from_before_there_were_shards_are_those_of_the_only_one(databases: Databases) -> None:
    with databases.blank() as old:
        migrations.migrate(old.url("sagapay_owner"), 0, "0001")
        with old.connect() as connection:
            connection.execute("INSERT INTO ledger.accounts (account_id, kind, code, currency) "
                               "VALUES (gen_random_uuid(), 'fees', 'fees', 'USD')")  # fmt: skip
        with pytest.raises(SettingsInvalid, match="was made as shard 0 of 1, and the settings say that it is shard 0"):
            migrations.upgrade(old.url("sagapay_owner"), 0, 2)
        migrations.upgrade(old.url("sagapay_owner"), 0, 1)


async def test_a_process_with_other_settings_moves_nothing(pair: list[Database], bare_servers: Servers) -> None:
    swapped = LocalLedger(settings_of(pair[::-1], bare_servers.settings))
    with pytest.raises(SettingsInvalid, match=r"is shard \d of 2, and the settings say that it is shard"):
        await Client(swapped).open_wallet(100)
    await swapped.aclose()


def test_the_shard_cannot_be_changed_by_a_slip(pair: list[Database]) -> None:
    with pair[1].connect() as connection, pytest.raises(psycopg.DatabaseError, match="is refused"):
        connection.execute("UPDATE ledger.shard SET number = 0")
