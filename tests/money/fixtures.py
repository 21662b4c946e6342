"""Fixtures of tests that move money: imported by the conftest of each kind of test."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from ledger.local import LocalLedger
from tests.money.records import Records
from tests.money.requests import Client
from tests.money.scratch import Database, Databases
from tests.stack.servers import Servers


@pytest.fixture(scope="session")
def databases(bare_servers: Servers) -> Databases:
    """Ledger databases to make and drop on the session's PostgreSQL."""
    return Databases(bare_servers.settings)


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[Database]:
    """A ledger of this module's own, empty at its beginning."""
    with databases.copy() as database:
        yield database


@pytest.fixture(scope="module")
async def ledger(database: Database, bare_servers: Servers) -> AsyncIterator[LocalLedger]:
    """The ledger's service on this module's database."""
    service = LocalLedger(database.settings(bare_servers.settings, database_pool_size=20))
    yield service
    await service.aclose()


@pytest.fixture
def client(ledger: LocalLedger) -> Client:
    """An app of this test's own, with a bank of its own."""
    return Client(ledger, bank=f"bank-{uuid4().hex[:8]}")


@pytest.fixture
def records(database: Database, client: Client) -> Iterator[Records]:
    """What the database has recorded, beside the service."""
    with database.connect() as connection:
        yield Records(connection, client.bank)
