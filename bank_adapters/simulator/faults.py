"""Misbehaviour on request. Faults are kept in the books, so that a killed bank comes back misbehaving."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bank_adapters.simulator.database import Session


class Operation(StrEnum):
    """What a fault applies to."""

    PULL = "pull"
    PUSH = "push"
    LOOK_UP = "look_up"
    CANCEL = "cancel"
    STATEMENT = "statement"
    LINK = "link"
    WEBHOOK = "webhook"
    ANY = "any"


class FaultKind(StrEnum):
    """How the bank misbehaves; docs/reference/simulated-bank.md says it in full."""

    SLOW = "slow"
    DOWN = "down"
    TIMEOUT_BEFORE = "timeout_before"
    REFUSE = "refuse"
    SETTLE_LATER = "settle_later"
    DUPLICATE = "duplicate"
    TIMEOUT_AFTER = "timeout_after"
    ERROR_AFTER = "error_after"
    WRONG_ORDER = "wrong_order"
    WEBHOOK_LOST = "webhook_lost"
    WEBHOOK_TWICE = "webhook_twice"
    WEBHOOK_LATE = "webhook_late"


# When in the life of a request a fault strikes. A replay of a known reference is never decided again, so the middle
# ones wait for the next new payment.
BEFORE: Final = frozenset({FaultKind.SLOW, FaultKind.DOWN, FaultKind.TIMEOUT_BEFORE})
DECIDING: Final = frozenset({FaultKind.REFUSE, FaultKind.SETTLE_LATER, FaultKind.DUPLICATE})
AFTER: Final = frozenset({FaultKind.TIMEOUT_AFTER, FaultKind.ERROR_AFTER, FaultKind.WRONG_ORDER})
TELLING: Final = frozenset({FaultKind.WEBHOOK_LOST, FaultKind.WEBHOOK_TWICE, FaultKind.WEBHOOK_LATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One instruction to misbehave: towards one account or all, `times_left` times or (None) until removed."""

    fault_id: int
    kind: FaultKind
    operation: Operation
    account_id: str | None
    code: str | None
    seconds: float | None
    times_left: int | None
    used: int


Taken = Mapping[FaultKind, Fault]
# The id of the account that a request concerns, if it concerns one; only asked where there are faults.
Whose = Callable[[Session], str | None]


def add(
    session: Session,
    *,
    kind: FaultKind,
    operation: Operation,
    account_id: str | None,
    code: str | None,
    seconds: float | None,
    times: int | None,
) -> Fault:
    """Misbehave from now on."""
    row = session.connection.execute(
        "INSERT INTO faults (kind, operation, account_id, code, seconds, times_left) VALUES (?, ?, ?, ?, ?, ?)"
        " RETURNING *",
        (kind, operation, account_id, code, seconds, times),
    ).fetchone()
    return _fault(row)


def active_and_spent(session: Session) -> list[Fault]:
    """Every fault that was not removed, oldest first; a spent one has no times left."""
    return [_fault(row) for row in session.connection.execute("SELECT * FROM faults WHERE NOT removed ORDER BY 1")]


def remove(session: Session, fault_id: int | None) -> int:
    """End one fault, or (None) all. Returns how many."""
    return session.connection.execute(
        "UPDATE faults SET removed = 1 WHERE NOT removed AND (fault_id = ? OR ? IS NULL)", (fault_id, fault_id)
    ).rowcount


def take(session: Session, operation: Operation, whose: Whose, kinds: frozenset[FaultKind]) -> Taken:
    """The oldest fault of each of `kinds` that strikes here; each has now struck once more."""
    rows = session.connection.execute(
        "SELECT * FROM faults WHERE NOT removed AND (times_left IS NULL OR times_left > 0)"
        " AND operation IN (?, 'any') ORDER BY fault_id",
        (operation,),
    ).fetchall()
    if not rows:
        return {}
    account_id = whose(session)
    taken: dict[FaultKind, Fault] = {}
    for fault in map(_fault, rows):
        concerned = fault.account_id is None or fault.account_id == account_id
        if concerned and fault.kind in kinds and fault.kind not in taken:
            taken[fault.kind] = fault
            session.connection.execute(
                "UPDATE faults SET times_left = times_left - 1, used = used + 1 WHERE fault_id = ?", (fault.fault_id,)
            )
    return taken


def _fault(row: sqlite3.Row) -> Fault:
    return Fault(
        fault_id=row["fault_id"],
        kind=FaultKind(row["kind"]),
        operation=Operation(row["operation"]),
        account_id=row["account_id"],
        code=row["code"],
        seconds=row["seconds"],
        times_left=row["times_left"],
        used=row["used"],
    )
