"""A PostgreSQL of our own for the measurement: the embedded one, durable (fsync=on), with wallets that have money."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import psycopg

import migrations
from benchmarks.figures import HERE
from infra.local.child import Child
from infra.local.names import APPLICATION, DATABASE, OWNER, database_of
from infra.local.postgres import postgres
from infra.local.probes import free_ports
from infra.settings import Settings
from ledger.shards import buckets_of

OPENING_BALANCE: Final = 10**9

# As one would set a server of this size for anything that writes much; the peers have the same.
LARGER: Final = ("-c", "shared_buffers=1GB", "-c", "max_wal_size=8GB")

# Wallets as the service would open them, with money that a suspense account owes: the books are even.
_FILL: Final = """
    INSERT INTO ledger.accounts (account_id, kind, user_id, client_id, currency, floor, balance)
    SELECT (lpad(to_hex(1767225600000 + i), 12, '0') || '7' || substr(md5(i::text), 1, 3)
            || '8' || substr(md5(i::text), 4, 15))::uuid,
           'wallet', gen_random_uuid(), gen_random_uuid(), 'USD', 0, %(balance)s
    FROM generate_series(1, %(wallets)s) AS i
    WHERE ('x' || substr(md5(i::text), 16, 3))::bit(12)::integer BETWEEN %(first)s AND %(last)s
"""
# What months of payments leave behind: pairs of lines on accounts of long ago, as spread in the indexes as real ones.
_OLD_ENTRIES: Final = """
    INSERT INTO ledger.ledger_entries
        (entry_id, posting_id, transaction_id, account_id, type, amount, currency, balance_after, version, created_at)
    SELECT (left(ledger.uuid_at(moment)::text, 14) || '7' || substr(md5(i || side), 1, 3) || '-8'
            || substr(md5(i || side), 4, 3) || '-' || substr(md5(i || side), 7, 12))::uuid,
           md5('posting' || i)::uuid, md5('transaction' || i)::uuid, md5(side || i %% 1000003)::uuid, side, 1, 'USD', 1,
           1 + i / 1000003, moment
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i,
         LATERAL (SELECT date_trunc('month', now()) - make_interval(secs => i / 100.0) AS moment) AS at,
         unnest(ARRAY['DEBIT', 'CREDIT']) AS side
"""


@dataclass(frozen=True)
class Server:
    """Where it is."""

    port: int
    programs: Path
    data: Path
    databases: tuple[str, ...] = (DATABASE,)
    """The ledger's, one a shard."""

    @property
    def settings(self) -> Settings:
        """Settings that point at its ledger; everything else as by default."""
        place = f"127.0.0.1:{self.port}"
        return Settings(
            shard_urls=tuple(f"postgresql://{APPLICATION}@{place}/{name}" for name in self.databases),
            migration_urls=tuple(f"postgresql://{OWNER}@{place}/{name}" for name in self.databases),
        )

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        """A session of the superuser, in autocommit."""
        return psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/{database}", autocommit=True)


def grow(server: Server, before: int, after: int) -> None:
    """Old entries, until there are `after` of them instead of `before`."""
    with server.connect() as connection:
        connection.execute(_OLD_ENTRIES, {"first": before // 2 + 1, "last": after // 2})
        connection.execute("VACUUM ANALYZE ledger.ledger_entries")
        connection.execute("CHECKPOINT")


def fill(server: Server, wallets: int) -> None:
    """Make its ledger, and so many wallets with money, each on its shard."""
    migrations.upgrade_all(server.settings.migration_urls)
    for number, database in enumerate(server.databases):
        buckets = buckets_of(number, len(server.databases))
        values = {"wallets": wallets, "balance": OPENING_BALANCE, "first": buckets[0], "last": buckets[-1]}
        with server.connect(database) as connection:
            connection.execute(_FILL, values)
            connection.execute("VACUUM ANALYZE ledger.accounts")


@contextmanager
def running_server(wallets: int) -> Iterator[Server]:
    """The server with an empty ledger and so many wallets with money; gone at the end."""
    with running_postgres() as server:
        fill(server, wallets)
        yield server


@contextmanager
def running_postgres(databases: int = 1) -> Iterator[Server]:
    """The server with so many empty databases; gone at the end. On the checkout's own disk."""
    with TemporaryDirectory(prefix=".sagapay-bench-", dir=HERE.parent) as home:
        (port,) = free_ports(1)
        data = Path(home) / "data"
        service = postgres(data, Path(home) / "postgres.log", port, shards=databases)
        service.before_start()
        child = Child(replace(service.command, argv=[*service.command.argv, *LARGER]))
        try:
            while not service.is_ready(child.pid):
                time.sleep(0.1)
            service.once_up()
            names = tuple(database_of(number) for number in range(databases))
            yield Server(port, Path(service.command.argv[0]).parent, data, names)
        finally:
            child.stop(grace_seconds=10)
