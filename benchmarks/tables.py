"""What is kept of a transfer: the growth of every table with its indexes, and of the write-ahead log."""

from dataclasses import dataclass
from typing import Final, Self

import psycopg

# A partition counts for its table. What is not ours (catalogues, statistics) grows by other things.
_SIZES: Final = """
    SELECT n.nspname || '.' || root.relname, sum(pg_total_relation_size(c.oid))
    FROM pg_class c
    JOIN pg_class root ON root.oid = coalesce(pg_partition_root(c.oid), c.oid)
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname IN ('ledger', 'history', 'directory')
    GROUP BY 1
"""
_TRANSFERS: Final = "SELECT count(*) FROM ledger.transactions"
_LOG: Final = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"


@dataclass(frozen=True)
class Tables:
    """How large everything is. Bytes."""

    transfers: int
    sizes: dict[str, int]
    log: int

    @classmethod
    def now(cls, connection: psycopg.Connection) -> Self:
        """As the database says."""

        def one(question: str) -> int:
            row = connection.execute(question.encode()).fetchone()
            assert row is not None
            return int(row[0])

        sizes = {str(name): int(size) for name, size in connection.execute(_SIZES)}
        return cls(one(_TRANSFERS), sizes, one(_LOG))

    def plus(self, other: "Tables") -> "Tables":
        """Those of two databases together."""
        names = self.sizes.keys() | other.sizes.keys()
        sizes = {name: self.sizes.get(name, 0) + other.sizes.get(name, 0) for name in names}
        return Tables(self.transfers + other.transfers, sizes, max(self.log, other.log))


@dataclass(frozen=True)
class Growth:
    """Bytes a transfer, by table, and of log."""

    transfers: int
    by_table: dict[str, float]
    log: float

    @classmethod
    def between(cls, before: Tables, after: Tables) -> Self:
        """By what was added. Raises ZeroDivisionError where nothing was."""
        transfers = after.transfers - before.transfers
        grown = {name: (size - before.sizes.get(name, 0)) / transfers for name, size in after.sizes.items()}
        by_table = {name: each for name, each in sorted(grown.items(), key=lambda item: -item[1]) if each >= 1}
        return cls(transfers, by_table, (after.log - before.log) / transfers)

    @property
    def total(self) -> float:
        """All tables."""
        return sum(self.by_table.values())
