"""Recompute every invariant of a shard at one moment, while payments run."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.database import reading
from ledger.invariants.balances import BALANCES, FLOORS, HELD, NOTHING_DUE, RUNNING_BALANCES, SHARD_SUM
from ledger.invariants.banks import CLEARING, SETTLED, ReadBanks, Statements
from ledger.invariants.batches import BATCHES
from ledger.invariants.client_holds import CAPTURES, HOLDS_TOLD
from ledger.invariants.guards import CONSTRAINTS, GRANTS, TRIGGERS
from ledger.invariants.invariant import Finding, Invariant
from ledger.invariants.outbox import ENTRIES_TOLD, PAYMENTS_TOLD
from ledger.invariants.payments import HOLDS, KEYS, STATUS, STEPS_IN_ORDER, TIMELINE
from ledger.invariants.postings import AS_RULED, FAILED_MOVED_NOTHING, STEPS_POSTED, SUM_TO_ZERO
from ledger.invariants.snapshot import Progress, Snapshot, snapshot_of

INVARIANTS: Final[tuple[Invariant, ...]] = (
    SUM_TO_ZERO,
    SHARD_SUM,
    AS_RULED,
    FLOORS,
    HELD,
    CONSTRAINTS,
    GRANTS,
    TRIGGERS,
    BALANCES,
    RUNNING_BALANCES,
    KEYS,
    STEPS_IN_ORDER,
    STEPS_POSTED,
    TIMELINE,
    FAILED_MOVED_NOTHING,
    BATCHES,
    NOTHING_DUE,
    CLEARING,
    SETTLED,
    STATUS,
    PAYMENTS_TOLD,
    ENTRIES_TOLD,
    HOLDS_TOLD,
    HOLDS,
    CAPTURES,
)
"""All that need nothing from outside, by number; the banks' statements are compared besides."""


def silent(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


async def verify(
    engine: AsyncEngine, read_banks: ReadBanks | None = None, progress: Progress = silent
) -> list[Finding]:
    """Check the shard behind `engine`; the application's role is enough. One Finding an invariant, by number.

    `read_banks` is called before the snapshot is taken, so that what a bank says is never newer than what we read.
    Raises LedgerUnavailable, and what `read_banks` raises.
    """
    statements = await _ask_banks(engine, read_banks) if read_banks else Statements()
    async with snapshot_of(engine) as connection:
        return await examine(connection, statements, progress)


async def examine(connection: AsyncConnection, statements: Statements, progress: Progress) -> list[Finding]:
    """Check what an open database transaction sees. Raises LedgerUnavailable."""
    snapshot = Snapshot(connection, progress)
    await snapshot.measure()
    snapshot.expect(sum(snapshot.count(invariant.rows) for invariant in INVARIANTS))
    findings = [await invariant.check(snapshot) for invariant in (*INVARIANTS, statements)]
    return sorted(findings, key=lambda finding: finding.number)


async def _ask_banks(engine: AsyncEngine, read_banks: ReadBanks) -> Statements:
    async with reading(engine) as connection:
        asked_at = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return Statements(asked_at=asked_at, balances=await read_banks())
