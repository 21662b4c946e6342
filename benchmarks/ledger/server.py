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
from infra.local.postgres import postgres
from infra.local.probes import free_ports
from infra.settings import Settings

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

    @property
    def settings(self) -> Settings:
        """Settings that point at its ledger; everything else as by default."""
        return Settings(
            shard_urls=(f"postgresql://sagapay_app@127.0.0.1:{self.port}/sagapay",),
            migration_urls=(f"postgresql://sagapay_owner@127.0.0.1:{self.port}/sagapay",),
        )

    def connect(self, database: str = "sagapay") -> psycopg.Connection:
        """A session of the superuser, in autocommit."""
        return psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/{database}", autocommit=True)


def grow(server: Server, before: int, after: int) -> None:
    """Old entries, until there are `after` of them instead of `before`."""
    with server.connect() as connection:
        connection.execute(_OLD_ENTRIES, {"first": before // 2 + 1, "last": after // 2})
        connection.execute("VACUUM ANALYZE ledger.ledger_entries")
        connection.execute("CHECKPOINT")


@contextmanager
def running_server(wallets: int) -> Iterator[Server]:
    """The server with an empty ledger and so many wallets with money; gone at the end. On the checkout's own disk."""
    with TemporaryDirectory(prefix=".sagapay-bench-", dir=HERE.parent) as home:
        (port,) = free_ports(1)
        service = postgres(Path(home) / "data", Path(home) / "postgres.log", port, shards=1)
        service.before_start()
        child = Child(replace(service.command, argv=[*service.command.argv, *LARGER]))
        try:
            while not service.is_ready(child.pid):
                time.sleep(0.1)
            service.once_up()
            server = Server(port, Path(service.command.argv[0]).parent)
            migrations.upgrade(server.settings.migration_urls[0])
            with server.connect() as connection:
                connection.execute(_FILL, {"wallets": wallets, "balance": OPENING_BALANCE})
                connection.execute("VACUUM ANALYZE ledger.accounts")
            yield server
        finally:
            child.stop(grace_seconds=10)
