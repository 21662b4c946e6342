"""Suspense items, at a bank of their own where they add up to nothing, and ways to spoil them."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from domain.contracts.suspense import Clearance, Clearing, NewSuspenseItem
from ledger.service import LedgerService
from tests.money.corruptions import breaking

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


async def suspend_in_every_way(ledger: LedgerService) -> dict[str, UUID]:
    """Two items that are open and one that was cleared; their ids by what they are."""
    gone = await ledger.suspend(line_of("ret_gone", -70))
    came = await ledger.suspend(line_of("ret_came", 70))
    cleared = await ledger.suspend(line_of("ret_cleared", -30))
    told = Clearing(item_id=cleared.item_id, outcome=Clearance.CORRECTED, by="maria", reason="called", evidence="4711")
    await ledger.clear_suspense(told)
    return {
        "outgoing item": gone.item_id.uuid,
        "incoming item": came.item_id.uuid,
        "cleared item": cleared.item_id.uuid,
    }
