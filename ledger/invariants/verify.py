"""Recompute every invariant of a shard at one moment, while payments run; then what is between shards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.database import reading
from ledger.invariants.balances import BALANCES, DUES, FLOORS, HELD, RUNNING_BALANCES, SHARD_SUM
from ledger.invariants.banks import CLEARING, SETTLED, SUSPENSE, ReadBanks, Statements
from ledger.invariants.batches import BATCHES
from ledger.invariants.between import check_dues, check_transfers
from ledger.invariants.client_holds import CAPTURES, HOLDS_TOLD
from ledger.invariants.guards import CONSTRAINTS, GRANTS, TRIGGERS
from ledger.invariants.invariant import Finding, Invariant
from ledger.invariants.outbox import ENTRIES_TOLD, PAYMENTS_TOLD
from ledger.invariants.payments import DEFERRED, HOLDS, KEYS, STATUS, STEPS_IN_ORDER, TIMELINE
from ledger.invariants.postings import AS_RULED, FAILED_MOVED_NOTHING, STEPS_POSTED, SUM_TO_ZERO
from ledger.invariants.snapshot import Found, Progress, Snapshot, snapshot_of
from ledger.invariants.wallets import OWED, RULES_AS_CHANGED, SPENT, WRITTEN_OFF

INVARIANTS: Final[tuple[Invariant, ...]] = (
    SUM_TO_ZERO,
    SHARD_SUM,
    AS_RULED,
    FLOORS,
    HELD,
    SPENT,
    CONSTRAINTS,
    GRANTS,
    TRIGGERS,
    RULES_AS_CHANGED,
    BALANCES,
    RUNNING_BALANCES,
    KEYS,
    STEPS_IN_ORDER,
    STEPS_POSTED,
    TIMELINE,
    FAILED_MOVED_NOTHING,
    BATCHES,
    DUES,
    CLEARING,
    SETTLED,
    SUSPENSE,
    OWED,
    WRITTEN_OFF,
    STATUS,
    PAYMENTS_TOLD,
    ENTRIES_TOLD,
    HOLDS_TOLD,
    HOLDS,
    DEFERRED,
    CAPTURES,
)
"""All that need nothing from outside, by number; the banks' statements are compared besides."""


def silent(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found on each shard, and of all of them together. Findings are in the order of their numbers."""

    shards: Sequence[Sequence[Finding]]
    together: Sequence[Finding]

    @property
    def findings(self) -> Sequence[Finding]:
        """All of them."""
        return [finding for part in (*self.shards, self.together) for finding in part]


async def verify(
    engine: AsyncEngine, read_banks: ReadBanks | None = None, progress: Progress = silent
) -> list[Finding]:
    """Check the shard behind `engine`, the only one; the application's role is enough. One Finding an invariant.

    `read_banks` is called before the snapshot is taken, so that what a bank says is never newer than what we read.
    Raises LedgerUnavailable, and what `read_banks` raises.
    """
    (statements,) = await _ask_banks([engine], read_banks)
    async with snapshot_of(engine) as connection:
        return await examine(connection, statements, progress)


async def verify_shards(
    engines: Sequence[AsyncEngine],
    read_banks: ReadBanks | None = None,
    progress_of: Callable[[int], Progress] = lambda _shard: silent,
) -> Report:
    """Check all shards, each at a moment of its own, then what is between them and with the banks.

    `progress_of` gives each shard's progress. Raises as `verify` does.
    """
    asked = await _ask_banks(engines, read_banks)
    shards: list[Sequence[Finding]] = []
    ours: list[Found] = []
    for number, (engine, statements) in enumerate(zip(engines, asked, strict=True)):
        async with snapshot_of(engine) as connection:
            snapshot = await _measured(connection, progress_of(number))
            shards.append(await _findings(snapshot, INVARIANTS))
            ours += await statements.read(snapshot)
    together = [await check_dues(engines), await check_transfers(engines), asked[0].compare(ours)]
    return Report(shards, together)


async def examine(connection: AsyncConnection, statements: Statements, progress: Progress) -> list[Finding]:
    """Check what an open database transaction sees. Raises LedgerUnavailable."""
    return await _findings(await _measured(connection, progress), (*INVARIANTS, statements))


async def _measured(connection: AsyncConnection, progress: Progress) -> Snapshot:
    snapshot = Snapshot(connection, progress)
    await snapshot.measure()
    snapshot.expect(sum(snapshot.count(invariant.rows) for invariant in INVARIANTS))
    return snapshot


async def _findings(snapshot: Snapshot, invariants: Sequence[Invariant]) -> list[Finding]:
    findings = [await invariant.check(snapshot) for invariant in invariants]
    return sorted(findings, key=lambda finding: finding.number)


async def _ask_banks(engines: Sequence[AsyncEngine], read_banks: ReadBanks | None) -> list[Statements]:
    """What the banks say now, with each shard's own time before they were asked."""
    if read_banks is None:
        return [Statements()] * len(engines)
    times = []
    for engine in engines:
        async with reading(engine) as connection:
            times.append((await connection.execute(text("SELECT clock_timestamp()"))).scalar_one())
    balances = await read_banks()
    return [Statements(asked_at=asked_at, balances=balances) for asked_at in times]
