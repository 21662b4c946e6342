"""Ledger databases of a test's own on the session's PostgreSQL: copied from a migrated template in an instant."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
        return settings_of([self], base, **overrides)

    @contextmanager
    def connect(self, role: str = "postgres") -> Iterator[psycopg.Connection]:
        """A connection in autocommit. The superuser may do what nobody may: that is how records are corrupted."""
        with psycopg.connect(self.url(role), autocommit=True) as connection:
            yield connection


def settings_of(shards: Sequence[Database], base: Settings, **overrides: object) -> Settings:
    """`base`, but with these databases as the shards, and patience with a machine that does much else."""
    own = {
        "shard_urls": tuple(database.url() for database in shards),
        "migration_urls": tuple(database.url("sagapay_owner") for database in shards),
    }
    return base.model_copy(update={**own, "database_timeout_seconds": 60, **overrides})


class Databases:
    """Makes and drops them."""

    def __init__(self, base: Settings) -> None:
        self.place = base.migration_urls[0].split("@", 1)[1].rsplit("/", 1)[0]
        self._empty: dict[tuple[int, int], Database] = {}

    def _as_superuser(self, statement: str) -> None:
        with psycopg.connect(f"postgresql://postgres@{self.place}/postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def empty(self, shard: int = 0, shards: int = 1) -> Database:
        """A migrated database without a row. Nobody may connect to it: it is what others are copied from."""
        if (shard, shards) not in self._empty:
            made = self._empty[shard, shards] = Database(f"ledger_template_{next(_numbers)}", self.place)
            self._as_superuser(f"CREATE DATABASE {made.name} OWNER sagapay_owner")
            migrations.upgrade(made.url("sagapay_owner"), shard, shards)
        return self._empty[shard, shards]

    @contextmanager
    def shards(self, count: int) -> Iterator[list[Database]]:
        """So many empty databases, each a shard, for as long as the block takes."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.copy(self.empty(number, count))) for number in range(count)]

    def copy(self, original: Database | None = None) -> AbstractContextManager[Database]:
        """A copy of `original`, by default of the empty one, for as long as the block takes."""
        return self._created((original or self.empty()).name)

    def blank(self) -> AbstractContextManager[Database]:
        """A database without any table of ours."""
        return self._created("template1")

    @contextmanager
    def _created(self, template: str) -> Iterator[Database]:
        made = Database(f"ledger_{next(_numbers)}", self.place)
        self._as_superuser(f"CREATE DATABASE {made.name} TEMPLATE {template} OWNER sagapay_owner")
        try:
            yield made
        finally:
            self._as_superuser(f"DROP DATABASE {made.name} WITH (FORCE)")
