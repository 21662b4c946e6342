"""Suspense items, at a bank of their own where they add up to nothing, and ways to spoil them."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from domain.contracts.operators import ActionKind, BankOutcome, NewAction, OperatorAction, Via
from domain.contracts.returns import TAKE_RETURN, Suspended
from domain.contracts.suspense import Clearance, Clearing, NewSuspenseItem, SuspenseItem
from domain.ids import ActionId
from ledger.service import LedgerService
from tests.money.corruptions import breaking
from tests.money.write_offs import JOHN, MARIA

BANK: Final = "erring"

SUSPENSE_CORRUPTIONS: Final = (
    breaking(
        "what a bank took is forgotten",
        "DELETE FROM ledger.suspense_items WHERE item_id = {outgoing item}",
        "suspense",
        "settled payments",
        "postings as ruled",
    ),
    breaking(
        "what a bank sent was more",
        "UPDATE ledger.suspense_items SET moved = moved + 1 WHERE item_id = {incoming item}",
        "suspense",
        "settled payments",
        "postings as ruled",
    ),
    breaking(
        "a suspense item is not posted",
        """INSERT INTO ledger.suspense_items
        (item_id, bank, return_reference, reference, code, moved, currency, reason, detail, returned_at)
        SELECT gen_random_uuid(), bank, return_reference || ' again', reference, code, moved, currency, reason, detail,
               returned_at
        FROM ledger.suspense_items WHERE item_id IN ({outgoing item}, {incoming item})""",
        "suspense",
    ),
    breaking(
        "what was put right is on another bank's account",
        "UPDATE ledger.suspense_items SET bank = 'other' WHERE item_id = {cleared item}",
        "postings as ruled",
    ),
    breaking(
        "one person alone has written an item off",
        """UPDATE ledger.operator_action_marks m SET marked_by = a.asked_by FROM ledger.operator_actions a
        WHERE a.action_id = m.action_id AND m.mark = 'approved' AND a.transaction_id = {written-off item}""",
        "write-offs",
    ),
    breaking(
        "more of an item was written off than there was",
        "UPDATE ledger.suspense_items SET moved = moved + 1 WHERE item_id = {written-off item}",
        "write-offs",
        "settled payments",
        "postings as ruled",
    ),
    breaking("an item may be changed", "ALTER TABLE ledger.suspense_items DISABLE TRIGGER immutable", "triggers"),
)


def line_of(return_reference: str, moved: int, bank: str = BANK) -> NewSuspenseItem:
    """A return on that bank's statement, of no payment."""
    return NewSuspenseItem(
        bank=bank,
        return_reference=return_reference,
        reference="txn_nobody:deposit",
        code="R01",
        moved=moved,
        currency="USD",
        reason="return_unknown",
        detail="We never sent it.",
        returned_at=datetime(2026, 3, 2, tzinfo=UTC),
    )


async def said(ledger: LedgerService, item: SuspenseItem | Suspended, outcome: BankOutcome) -> OperatorAction:
    """What the API records of an operator's word on an item; that it is written off wants another's approval."""
    corrected = outcome is BankOutcome.CORRECTED
    action = NewAction(
        action_id=ActionId.new(item.item_id.bucket),
        transaction_id=item.item_id,
        kind=ActionKind.RESOLVE if corrected else ActionKind.FORCE,
        via=Via.API,
        by=MARIA,
        reason="called" if corrected else "the dispute is lost",
        outcome=outcome,
        evidence="ticket 4711" if corrected else None,
        step=TAKE_RETURN,
        since=item.since,
    )
    return await ledger.ask_action(action)


async def agreed(ledger: LedgerService, item: SuspenseItem) -> OperatorAction:
    """Two people have said that nobody will put it right."""
    asked = await said(ledger, item, BankOutcome.WRITTEN_OFF)
    return await ledger.approve_action(asked.action_id, JOHN, "I have seen the letter")


async def write_off(ledger: LedgerService, item: SuspenseItem) -> SuspenseItem:
    """What they said, done."""
    action = await agreed(ledger, item)
    return await ledger.clear_suspense(
        Clearing(
            item_id=item.item_id,
            outcome=Clearance.WRITTEN_OFF,
            by=action.by,
            reason=action.reason,
            approved_by=action.approved_by,
        )
    )


async def suspend_in_every_way(ledger: LedgerService) -> dict[str, UUID]:
    """Two items that are open, one that was cleared, and two that were written off; their ids by what they are."""
    gone = await ledger.suspend(line_of("ret_gone", -70))
    came = await ledger.suspend(line_of("ret_came", 70))
    cleared = await ledger.suspend(line_of("ret_cleared", -30))
    told = Clearing(item_id=cleared.item_id, outcome=Clearance.CORRECTED, by="maria", reason="called", evidence="4711")
    await ledger.clear_suspense(told)
    lost, kept = [await ledger.suspend(line_of(f"ret_given_up_{moved}", moved)) for moved in (-20, 20)]
    for item in (lost, kept):
        await write_off(ledger, item)
    return {
        "outgoing item": gone.item_id.uuid,
        "incoming item": came.item_id.uuid,
        "cleared item": cleared.item_id.uuid,
        "written-off item": lost.item_id.uuid,
    }
