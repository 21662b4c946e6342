"""Ledger databases of a test's own on the session's PostgreSQL: copied from a migrated template in an instant."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import psycopg

import migrations
from infra.settings import Settings

_numbers = count(1)


@dataclass(frozen=True)
class Database:
    """One database, as the application, as the owner of its tables, and as the superuser."""

    name: str
    place: str

    def url(self, role: str = "sagapay_app") -> str:
        """Where it is."""
        return f"postgresql://{role}@{self.place}/{self.name}"

    def settings(self, base: Settings, **overrides: object) -> Settings:
        """`base`, but with this database as the one shard, and patience with a machine that does much else."""
        own = {"shard_urls": (self.url(),), "migration_urls": (self.url("sagapay_owner"),)}
        return base.model_copy(update={**own, "database_timeout_seconds": 60, **overrides})

    @contextmanager
    def connect(self, role: str = "postgres") -> Iterator[psycopg.Connection]:
        """A connection in autocommit. The superuser may do what nobody may: that is how records are corrupted."""
        with psycopg.connect(self.url(role), autocommit=True) as connection:
            yield connection


class Databases:
    """Makes and drops them."""

    def __init__(self, base: Settings) -> None:
        self.place = base.migration_urls[0].split("@", 1)[1].rsplit("/", 1)[0]
        self._empty: Database | None = None

    def _as_superuser(self, statement: str) -> None:
        with psycopg.connect(f"postgresql://postgres@{self.place}/postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def empty(self) -> Database:
        """A migrated database without a row. Nobody may connect to it: it is what others are copied from."""
        if self._empty is None:
            self._empty = Database(f"ledger_template_{next(_numbers)}", self.place)
            self._as_superuser(f"CREATE DATABASE {self._empty.name} OWNER sagapay_owner")
            migrations.upgrade(self._empty.url("sagapay_owner"))
        return self._empty

    @contextmanager
    def copy(self, original: Database | None = None) -> Iterator[Database]:
        """A copy of `original`, by default of the empty one, for as long as the block takes."""
        source = original or self.empty()
        made = Database(f"ledger_{next(_numbers)}", self.place)
        self._as_superuser(f"CREATE DATABASE {made.name} TEMPLATE {source.name} OWNER sagapay_owner")
        try:
            yield made
        finally:
            self._as_superuser(f"DROP DATABASE {made.name} WITH (FORCE)")
