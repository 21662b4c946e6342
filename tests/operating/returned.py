"""Runbooks of returns that are none of ours, or not as they should be."""

import asyncio
from datetime import datetime
from typing import Final

import pytest

import activities.returns as return_activities
from bank_adapters.port import Direction
from domain.contracts.operators import ActionState, BankOutcome
from domain.contracts.returns import Unmatched
from domain.contracts.suspense import Clearance
from domain.contracts.wallets import ChangeKind
from domain.transactions import TransactionKind, TransactionStatus
from tests.money.requests import change_wallet
from tests.operating.desk import ACTIONS, Desk
from tests.operating.performing import performs
from tests.operating.runbook import Runbook
from tests.workflow.returning import (
    Booking,
    back_to_a_closed_wallet,
    booking_of,
    by_hand,
    deposited,
    give_back,
    parked,
    watch,
)
from tests.workflow.scene import Payment, Person, Scene

DISPUTED, MISREAD = "return_late, disputed", "return_late, misread"
AMOUNTS: Final = {
    Unmatched.WRONG_AMOUNT: 299,
    Unmatched.TWICE: 200,
    Unmatched.NEVER_PAID: 50,
    DISPUTED: 100,
    MISREAD: 120,
}
"""What is on a suspense account until the bank puts it right."""


class Returned:
    """Returns of every kind that is not booked, brought once: what is ended early would be found again."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.person: Person
        self.bookings: dict[str, Booking] = {}
        self.closed: list[Booking] = []
        self.windows = pytest.MonkeyPatch()
        self._brought: asyncio.Task[None] | None = None

    async def brought(self) -> "Returned":
        """Wait until all are parked."""
        self._brought = self._brought or asyncio.create_task(self._bring())
        await self._brought
        return self

    async def corrected(self, amount: int) -> None:
        """The bank puts its statement right."""
        await self.scene.bank.pull(by_hand(self.person, TransactionKind.DEPOSIT, amount))

    async def _bring(self) -> None:
        scene = self.scene
        self.person = await scene.person(balance=5_000)
        wrong, twice, disputed, misread = [
            await deposited(scene, self.person, amount) for amount in (300, 200, 100, 120)
        ]
        never = await self._failed()
        await (await give_back(scene, twice, "R01")).result()
        self.closed = [(await back_to_a_closed_wallet(scene, amount))[-1] for amount in (60, 61)]
        self.windows.setattr(return_activities, "may_still_return", _over)
        unknown = by_hand(self.person, TransactionKind.DEPOSIT, 150)
        await scene.bank.pull(unknown)
        returns = {
            Unmatched.WRONG_AMOUNT: await scene.admin.give_back(_reference(wrong), "R01", 299),
            Unmatched.TWICE: await scene.admin.give_back(_reference(twice), "R10"),
            Unmatched.UNKNOWN: await scene.admin.give_back(unknown.reference, "R01"),
            Unmatched.NEVER_PAID: await scene.admin.give_back(
                _reference(never), "R01", AMOUNTS[Unmatched.NEVER_PAID], invented=Direction.PULL
            ),
            DISPUTED: await scene.admin.give_back(_reference(disputed), "R10"),
            MISREAD: await scene.admin.give_back(_reference(misread), "R10"),
        }
        await watch(scene)
        for name, made in returns.items():
            self.bookings[name] = booking_of(scene, made.return_id)
            await parked(scene, self.bookings[name], name.split(",")[0])

    async def _failed(self) -> Payment:
        stranger = await self.scene.person()
        await change_wallet(self.scene.ledger, stranger.wallet_id, ChangeKind.FREEZE)
        failed = await self.scene.deposit(stranger, 50)
        await self.scene.finish(failed, TransactionStatus.FAILED, "wallet_frozen")
        return failed


def _reference(payment: Payment) -> str:
    return f"{payment.transaction_id}:deposit"


def _over(code: str, settled_at: datetime, returned_at: datetime) -> bool:
    """A window that is over already."""
    return False


async def returned_of(desk: Desk) -> Returned:
    """The desk's returns."""
    if not isinstance(desk.returned, Returned):
        desk.returned = Returned(desk.scene)
    return await desk.returned.brought()


async def _corrected(desk: Desk, book: Runbook, name: str, amount: int) -> None:
    """The bank corrects it, and it leaves the suspense account."""
    returned = await returned_of(desk)
    booking = returned.bookings[name]
    async with desk.opened(book.reason, book.filter, booking.id) as ui:
        await ui.reads("suspense account")
        if amount:
            await returned.corrected(amount)
        await desk.shell(book.take("sh"), booking=booking.id)
    ended = await booking.result()
    assert ended.suspended is not None
    assert (ended.unmatched, ended.suspended.cleared_as) == (book.reason, Clearance.CORRECTED)
    (done,) = await desk.scene.ledger.actions(ended.suspended.item_id)
    assert (done.state, done.outcome) == (ActionState.ACCEPTED, BankOutcome.CORRECTED)


@performs("return_unknown")
async def return_unknown(desk: Desk, book: Runbook) -> None:
    """It came and went on the bank's statement: nothing is to be corrected."""
    await _corrected(desk, book, Unmatched.UNKNOWN, 0)


@performs("return_wrong_amount")
async def return_wrong_amount(desk: Desk, book: Runbook) -> None:
    await _corrected(desk, book, Unmatched.WRONG_AMOUNT, AMOUNTS[Unmatched.WRONG_AMOUNT])


@performs("return_twice")
async def return_twice(desk: Desk, book: Runbook) -> None:
    await _corrected(desk, book, Unmatched.TWICE, AMOUNTS[Unmatched.TWICE])


@performs("return_never_paid")
async def return_never_paid(desk: Desk, book: Runbook) -> None:
    await _corrected(desk, book, Unmatched.NEVER_PAID, AMOUNTS[Unmatched.NEVER_PAID])


@performs("return_wallet_closed")
async def return_wallet_closed(desk: Desk, book: Runbook) -> None:
    """One owner is paid in another way; another cannot be found, and two people keep the money."""
    scene = desk.scene
    condition = next(block.text for block in book.left if block.words == "FILTER")
    paid, lost = (await returned_of(desk)).closed
    async with desk.opened(book.reason, book.filter, paid.id) as ui:
        await ui.reads("suspense account")
        await scene.bank.push(by_hand(await scene.person(), TransactionKind.WITHDRAWAL, 60))
        await desk.shell(book.take("sh"), booking=paid.id)
    async with desk.opened(book.reason, condition, lost.id):
        printed = await desk.shell(book.take("sh"), booking=lost.id, key=desk.maria)
        (action,) = set(ACTIONS.findall(printed))
        await desk.shell(book.take("sh"), booking=lost.id, action=action, key=desk.john)
    ended = [(await booking.result()).suspended for booking in (paid, lost)]
    assert [each and each.cleared_as for each in ended] == [Clearance.CORRECTED, Clearance.WRITTEN_OFF]


@performs("return_late")
async def return_late(desk: Desk, book: Runbook) -> None:
    """One is disputed; the other's window was read wrongly, and it is booked when that is mended."""
    condition = next(block.text for block in book.left if block.words == "FILTER")
    await _corrected(desk, book, DISPUTED, AMOUNTS[DISPUTED])
    returned = await returned_of(desk)
    booking = returned.bookings[MISREAD]
    async with desk.opened(book.reason, condition, booking.id) as ui:
        returned.windows.undo()
        await ui.send_update("retry", book.take("UPDATE retry"))
    booked = await booking.result()
    assert booked.transaction_id is not None
    found = await desk.scene.ledger.transaction(booked.transaction_id)
    assert found is not None
    assert found.status is TransactionStatus.RETURNED
