"""What an invariant is, what a check of it finds, and the kind that most of them are: a query for what is wrong."""

# Queries are put together of constants of this package alone.
# ruff: noqa: S608

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from ledger.invariants.snapshot import Everything, Rows, Snapshot

VIOLATIONS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong: its id (or name) and a sentence with the figures."""

    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check of one invariant found.

    `number` is the invariant's in the design, `checked` how many `what` were looked at, `broken` how many are wrong,
    `violations` the first few of them. `note` says what the check could not see.
    """

    number: int
    name: str
    sentence: str
    checked: int
    what: str
    broken: int = 0
    violations: tuple[Violation, ...] = ()
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the invariant holds."""
        return self.broken == 0


class Invariant(Protocol):
    """Something that is true of the ledger at every moment. Several may share one number of the design."""

    @property
    def number(self) -> int:
        """Which invariant of the design this recomputes, or a part of it."""
        ...

    @property
    def name(self) -> str:
        """Short and stable."""
        ...

    @property
    def sentence(self) -> str:
        """What is true."""
        ...

    @property
    def rows(self) -> Rows:
        """What it looks at; the measure of its work."""
        ...

    async def check(self, snapshot: Snapshot) -> Finding:
        """Recompute it. Raises LedgerUnavailable."""
        ...


class Pass(StrEnum):
    """How a query goes over its rows."""

    SLICED = "sliced"
    """Again for each range (:low, :high] of the rows' ids, so that its memory has a limit; an index leads it."""
    WHOLE = "whole"
    """Once, where no index leads from one side of a join to the other; PostgreSQL spills what is too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingIn:
    """An invariant that holds when `query` returns no row. Its rows are (subject, detail)."""

    number: int
    name: str
    sentence: str
    rows: Rows
    query: str
    goes: Pass = Pass.SLICED

    async def check(self, snapshot: Snapshot) -> Finding:
        """Ask for what is wrong, count it, and keep the first few."""
        shown: list[Violation] = []
        broken = 0
        slices = snapshot.slices(self.rows) if self.goes is Pass.SLICED else (Everything(snapshot.count(self.rows)),)
        wanted = (
            f"SELECT subject, detail, count(*) OVER () AS broken FROM ({self.query}) wrong LIMIT {VIOLATIONS_SHOWN}"
        )
        for part in slices:
            found = await snapshot.ask(wanted, part.bounds)
            broken += int(found[0].broken) if found else 0
            shown += [Violation(str(row.subject), str(row.detail)) for row in found]
            snapshot.advance(part.size)
        return Finding(
            number=self.number,
            name=self.name,
            sentence=self.sentence,
            checked=snapshot.count(self.rows),
            what=self.rows.value,
            broken=broken,
            violations=tuple(shown[:VIOLATIONS_SHOWN]),
        )
