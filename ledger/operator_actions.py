"""What operators told payments: asked, approved by a second person, accepted or refused. Only ever added to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.contracts.operators import (
    ActionClaim,
    ActionKind,
    ActionState,
    AttentionFilter,
    BankOutcome,
    NewAction,
    OperatorAction,
    Via,
)
from domain.errors import CannotApprove, CannotResolve, IdempotencyKeyReused, NotFound
from domain.ids import ActionId, TransactionId, new_uuid
from domain.transactions import Step
from ledger.queries import transaction_of
from ledger.service import Transaction
from ledger.statements import ADD_TIMELINE, TRANSACTION_COLUMNS

_ACTIONS: Final = """
    SELECT a.*, approval.marked_by AS approved_by, coalesce(refusal.note, approval.note) AS note,
           CASE WHEN refusal.mark IS NOT NULL THEN 'refused' WHEN acceptance.mark IS NOT NULL THEN 'accepted'
                WHEN approval.mark IS NOT NULL THEN 'approved' ELSE 'asked' END AS state
    FROM ledger.operator_actions a
    LEFT JOIN ledger.operator_action_marks approval
           ON approval.action_id = a.action_id AND approval.mark = 'approved'
    LEFT JOIN ledger.operator_action_marks acceptance
           ON acceptance.action_id = a.action_id AND acceptance.mark = 'accepted'
    LEFT JOIN ledger.operator_action_marks refusal
           ON refusal.action_id = a.action_id AND refusal.mark = 'refused'
"""
_ONE: Final = text(f"{_ACTIONS} WHERE a.action_id = :action_id")
_OF_TRANSACTION: Final = text(
    f"{_ACTIONS} WHERE a.transaction_id = :transaction_id ORDER BY a.created_at, a.action_id LIMIT :limit"
)
_RULING: Final = text(f"""{_ACTIONS}
    WHERE a.transaction_id = :transaction_id AND a.kind IN ('resolve', 'force') AND acceptance.mark IS NOT NULL
      AND refusal.mark IS NULL
    ORDER BY acceptance.created_at DESC LIMIT 1
""")
_MONEY_MOVED: Final = text("""
    SELECT step FROM ledger.transaction_steps
    WHERE transaction_id = :transaction_id AND step = ANY(:steps) AND outcome = 'posted' LIMIT 1
""")
_ADD: Final = text("""
    INSERT INTO ledger.operator_actions
        (action_id, transaction_id, kind, via, outcome, evidence, asked_by, reason, attention_step, attention_since,
         effective_at)
    VALUES (:action_id, :transaction_id, :kind, :via, :outcome, :evidence, :by, :reason, :step, :since, :effective_at)
    ON CONFLICT (action_id) DO NOTHING
""")
_MARK: Final = text("""
    INSERT INTO ledger.operator_action_marks (action_id, mark, marked_by, note)
    VALUES (:action_id, :mark, :by, :note) ON CONFLICT (action_id, mark) DO NOTHING RETURNING mark
""")
_ATTENTION: Final = text(f"""
    SELECT {TRANSACTION_COLUMNS} FROM ledger.transactions
    WHERE attention IS NOT NULL AND transaction_id > :after
      AND (CAST(:reason AS text) IS NULL OR attention ->> 'reason' = :reason)
      AND (CAST(:step AS text) IS NULL OR attention ->> 'step' = :step)
      AND (CAST(:bank AS text) IS NULL OR bank = :bank)
      AND (CAST(:before AS timestamptz) IS NULL OR CAST(attention ->> 'since' AS timestamptz) < :before)
    ORDER BY transaction_id LIMIT :limit
""")  # noqa: S608
_BEFORE_ALL: Final = UUID(int=0)
_MOST_ACTIONS: Final = 200
_WORKFLOW: Final = "workflow"
_PAID_STEPS: Final = (Step.CAPTURE_WITHDRAWAL.value, Step.CREDIT_DEPOSIT.value)


async def find_action(connection: AsyncConnection, action_id: ActionId) -> OperatorAction | None:
    """One action as it is now."""
    row = (await connection.execute(_ONE, {"action_id": action_id.uuid})).first()
    return _action_of(row) if row else None


async def find_actions(connection: AsyncConnection, transaction_id: TransactionId) -> Sequence[OperatorAction]:
    """The first 200 things that operators told a payment, oldest first."""
    wanted = {"transaction_id": transaction_id.uuid, "limit": _MOST_ACTIONS}
    return [_action_of(row) for row in await connection.execute(_OF_TRANSACTION, wanted)]


async def find_ruling(connection: AsyncConnection, transaction_id: TransactionId) -> OperatorAction | None:
    """The word of a person that the payment goes by, unless the bank's own answer came first and moved the money."""
    wanted = {"transaction_id": transaction_id.uuid}
    row = (await connection.execute(_RULING, wanted)).first()
    if row is None:
        return None
    ruling = _action_of(row)
    moved = (await connection.execute(_MONEY_MOVED, wanted | {"steps": list(_PAID_STEPS)})).first()
    return None if moved is not None and ruling.outcome is BankOutcome.NOT_PAID else ruling


async def find_attention(
    connection: AsyncConnection, wanted: AttentionFilter, after: TransactionId | None, limit: int
) -> Sequence[Transaction]:
    """A page of a shard's payments that need a person: those behind `after`, oldest first."""
    parameters = {
        "after": after.uuid if after else _BEFORE_ALL,
        "reason": wanted.reason,
        "step": wanted.step,
        "bank": wanted.bank,
        "before": wanted.before,
        "limit": limit,
    }
    return [transaction_of(row) for row in await connection.execute(_ATTENTION, parameters)]


async def ask_action(connection: AsyncConnection, action: NewAction, effective_at: datetime) -> OperatorAction:
    """Record what somebody asks for; repeated, what was recorded. Raises IdempotencyKeyReused."""
    await connection.execute(_ADD, _values(action, effective_at))
    recorded = await find_action(connection, action.action_id)
    assert recorded is not None
    same = ("transaction_id", "kind", "by", "outcome", "evidence", "reason")
    if any(getattr(recorded, name) != getattr(action, name) for name in same):
        raise IdempotencyKeyReused
    return recorded


async def approve_action(connection: AsyncConnection, action_id: ActionId, by: str, reason: str) -> OperatorAction:
    """A second person agrees; repeated by the same one, nothing more. Raises NotFound and CannotApprove."""
    found = await find_action(connection, action_id)
    if found is None:
        raise NotFound(f"There is no action {action_id}.")
    if found.kind is not ActionKind.FORCE:
        raise CannotApprove(f"A {found.kind} wants no approval.")
    if found.by == by:
        raise CannotApprove("Who proposed it cannot approve it: that takes another operator's key.")
    if found.approved_by == by:
        return found
    if found.state is not ActionState.ASKED:
        raise CannotApprove(f"It is {found.state} already.")
    await _mark(connection, action_id, ActionState.APPROVED, by, reason)
    return await _again(connection, action_id)


async def refuse_action(connection: AsyncConnection, action_id: ActionId, why: str) -> None:
    """Record that the payment's workflow refused."""
    await _mark(connection, action_id, ActionState.REFUSED, _WORKFLOW, why)


async def take_action(connection: AsyncConnection, claim: ActionClaim, effective_at: datetime) -> OperatorAction:
    """Record that a payment does what it was told, in its timeline, too; once. Raises CannotResolve.

    What moves money by a person's word is compared with what the API recorded, and holds for the attention that the
    person saw and for no later one. What came from the Temporal UI is recorded here.
    """
    if not claim.recorded and not claim.kind.rules:
        said = NewAction(
            action_id=claim.action_id,
            transaction_id=claim.transaction_id,
            kind=claim.kind,
            via=Via.TEMPORAL,
            by=claim.by,
            reason=claim.reason,
            step=claim.step,
            since=claim.since,
        )
        await connection.execute(_ADD, _values(said, effective_at))
    action = await find_action(connection, claim.action_id)
    _demand_backing(claim, action)
    assert action is not None
    if await _mark(connection, claim.action_id, ActionState.ACCEPTED, _WORKFLOW, ""):
        await connection.execute(ADD_TIMELINE, _timeline_of(action, effective_at))
    return await _again(connection, claim.action_id)


def _demand_backing(claim: ActionClaim, action: OperatorAction | None) -> None:
    if action is None or (action.transaction_id, action.kind) != (claim.transaction_id, claim.kind):
        raise CannotResolve(f"The operators' API has recorded no such {claim.kind} of this payment.")
    if not claim.kind.rules:
        return
    if action.outcome != claim.outcome:
        raise CannotResolve(f"What is recorded says {action.outcome}.")
    if action.since != claim.since:
        raise CannotResolve("It answers an earlier attention; the payment has gone on since.")
    if action.kind is ActionKind.FORCE and action.approved_by is None:
        raise CannotResolve("Nobody has approved it yet: a force takes two people.")
    if action.state is ActionState.REFUSED:
        raise CannotResolve("It was refused before; ask anew.")


async def _mark(connection: AsyncConnection, action_id: ActionId, mark: ActionState, by: str, note: str) -> bool:
    row = {"action_id": action_id.uuid, "mark": mark, "by": by, "note": note}
    return (await connection.execute(_MARK, row)).first() is not None


async def _again(connection: AsyncConnection, action_id: ActionId) -> OperatorAction:
    found = await find_action(connection, action_id)
    assert found is not None
    return found


def _values(action: NewAction, effective_at: datetime) -> dict[str, object]:
    return {
        "action_id": action.action_id.uuid,
        "transaction_id": action.transaction_id.uuid,
        "kind": action.kind,
        "via": action.via,
        "outcome": action.outcome,
        "evidence": action.evidence,
        "by": action.by,
        "reason": action.reason,
        "step": action.step,
        "since": action.since,
        "effective_at": effective_at,
    }


def _timeline_of(action: OperatorAction, effective_at: datetime) -> dict[str, object]:
    told = {
        "action_id": action.action_id,
        "by": action.by,
        "reason": action.reason,
        "outcome": action.outcome,
        "evidence": action.evidence,
        "approved_by": action.approved_by,
    }
    return {
        "transaction_id": action.transaction_id.uuid,
        "event_id": new_uuid(action.transaction_id.bucket),
        "type": f"operator.{action.kind}",
        "step": action.step,
        "detail": orjson.dumps({name: value for name, value in told.items() if value is not None}).decode(),
        "effective_at": effective_at,
    }


def _action_of(row: Any) -> OperatorAction:  # noqa: ANN401  -- a row of SQLAlchemy's
    return OperatorAction(
        action_id=ActionId.of(row.action_id),
        transaction_id=TransactionId.of(row.transaction_id),
        kind=ActionKind(row.kind),
        via=Via(row.via),
        by=row.asked_by,
        reason=row.reason,
        state=ActionState(row.state),
        created_at=row.created_at,
        outcome=BankOutcome(row.outcome) if row.outcome else None,
        evidence=row.evidence,
        step=row.attention_step,
        since=row.attention_since,
        approved_by=row.approved_by,
        note=row.note,
    )
