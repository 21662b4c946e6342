"""One moment of a shard: a REPEATABLE READ READ ONLY transaction, counted, cut into slices, read while payments run.

Such a transaction takes no transaction id, so it holds up neither writers nor the relays' `pg_snapshot_xmin`.
"""

# Queries are put together of constants of this package alone.
# ruff: noqa: S608

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.database import outages_named
from ledger.rules import RULES

Found = Row[tuple[object, ...]]
"""A row of an answer, read by its columns' names."""

Progress = Callable[[int, int], None]
"""Called with (done, total) rows as the checks go on."""

ROWS_PER_SLICE: Final = 50_000
_LOWEST, _HIGHEST = UUID(int=0), UUID(int=2**128 - 1)


class Rows(StrEnum):
    """What can be looked at. The value names it for people."""

    ACCOUNTS = "accounts"
    TRANSACTIONS = "transactions"
    POSTINGS = "postings"
    ENTRIES = "entries"
    KEYS = "keys"
    BATCHES = "batches"
    HOLDS = "holds"
    GUARDS = "guards"
    BANKS = "banks"


# Table and id of what is counted, in the order of the design.
_TABLES: Final[Mapping[Rows, tuple[str, str]]] = {
    Rows.ACCOUNTS: ("ledger.accounts", "account_id"),
    Rows.TRANSACTIONS: ("ledger.transactions", "transaction_id"),
    Rows.POSTINGS: ("ledger.postings", "posting_id"),
    Rows.ENTRIES: ("ledger.ledger_entries", "entry_id"),
    Rows.KEYS: ("ledger.idempotency_keys", "key_digest"),
    Rows.BATCHES: ("ledger.transfer_batches", "batch_id"),
    Rows.HOLDS: ("ledger.holds", "hold_id"),
}


class Part(Protocol):
    """A part of some rows: how many they are, and the parameters that say which."""

    @property
    def size(self) -> int:
        """How many rows."""
        ...

    @property
    def bounds(self) -> Mapping[str, UUID]:
        """The parameters of a query over this part."""
        ...


@dataclass(frozen=True, slots=True)
class Everything:
    """All rows at once."""

    size: int

    @property
    def bounds(self) -> Mapping[str, UUID]:
        """None."""
        return {}


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows with an id in (low, high]. The slices of a table leave no gap, so a row without its parent is in one."""

    low: UUID
    high: UUID
    size: int

    @property
    def bounds(self) -> Mapping[str, UUID]:
        """`low` and `high`."""
        return {"low": self.low, "high": self.high}


class Snapshot:
    """A moment of one shard, as `connection` sees it. `measure` comes first."""

    def __init__(self, connection: AsyncConnection, progress: Progress) -> None:
        self._connection = connection
        self._progress = progress
        self._counts: dict[Rows, int] = {}
        self._slices: dict[Rows, tuple[Slice, ...]] = {}
        self._done = 0
        self._total = 0

    async def ask(self, query: str, parameters: Mapping[str, object] | None = None) -> Sequence[Found]:
        """All rows of a query; `:rules` in it is the table of ledger/rules.py as JSON."""
        statement: TextClause = text(query)
        values: dict[str, object] = {"rules": _RULES_JSON, **(parameters or {})}
        names = statement.compile().params
        with outages_named():
            return (await self._connection.execute(statement, {n: v for n, v in values.items() if n in names})).all()

    async def measure(self) -> None:
        """Count all tables, and cut those that are checked in slices."""
        for rows in _TABLES:
            await self._measure(rows)

    async def _measure(self, rows: Rows) -> None:
        table, key = _TABLES[rows]
        if rows in (Rows.KEYS, Rows.ENTRIES, Rows.BATCHES):
            (counted,) = await self.ask(f"SELECT count(*) AS rows FROM {table}")
            self._counts[rows] = int(str(counted.rows))
            return
        cuts = await self.ask(
            f"SELECT id, number FROM (SELECT {key} AS id, row_number() OVER (ORDER BY {key}) AS number FROM {table}) n "
            f"WHERE number % {ROWS_PER_SLICE} = 0 UNION ALL SELECT NULL, count(*) FROM {table} ORDER BY 2, 1"
        )
        self._counts[rows] = int(str(cuts[-1].number))
        ends = [UUID(str(cut.id)) for cut in cuts if cut.id is not None]
        sizes = [ROWS_PER_SLICE] * len(ends) + [self._counts[rows] - ROWS_PER_SLICE * len(ends)]
        lows, highs = [_LOWEST, *ends], [*ends, _HIGHEST]
        self._slices[rows] = tuple(Slice(*cut) for cut in zip(lows, highs, sizes, strict=True))

    def count(self, rows: Rows) -> int:
        """How many there are; 0 of what is not in a table."""
        return self._counts.get(rows, 0)

    def slices(self, rows: Rows) -> tuple[Slice, ...]:
        """The slices of a table that has been measured."""
        return self._slices[rows]

    def expect(self, rows: int) -> None:
        """Say how much is to be done in all."""
        self._total = rows
        self._progress(0, rows)

    def advance(self, rows: int) -> None:
        """Say that so much more has been done."""
        self._done += rows
        self._progress(self._done, self._total)


_RULES_JSON: Final = json.dumps(
    [
        {
            "step": step,
            "kind": rule.kind,
            "first": rule.first,
            "elsewhere": rule.elsewhere,
            "debit": rule.debit,
            "credit": rule.credit,
            "hold": rule.hold,
            "spends": rule.spends,
            "prior": rule.after,
            "excluded": rule.not_after,
            "result": rule.leads_to,
        }
        for step, rule in RULES.items()
    ]
)
RULES_TABLE: Final = (
    "jsonb_to_recordset(CAST(:rules AS jsonb)) AS rule (step text, kind text, first boolean, elsewhere boolean, "
    "debit text, credit text, hold text, spends boolean, prior text, excluded text, result text)"
)
"""ledger/rules.py as a table `rule` for a FROM clause."""

NUMBERED: Final = (
    "(SELECT *, row_number() OVER (PARTITION BY posting_id ORDER BY entry_id) AS place FROM ledger.ledger_entries)"
)
"""Entries with their place in their posting. A step's first two move its payment's amount, the others collect debts."""


@asynccontextmanager
async def snapshot_of(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection that sees one moment of the shard behind `engine`. Raises LedgerUnavailable."""
    with outages_named():
        async with engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                # The application's limits are for payments; this reads the whole ledger.
                for limit in ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"):
                    await connection.execute(text(f"SET LOCAL {limit} = 0"))
                await connection.execute(text("SET LOCAL work_mem = '64MB'"))
                yield connection
