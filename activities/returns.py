"""Returns: read from a bank's statement, matched with the payment, booked, and what follows for the bank account."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.bank_codes import follow_return_code
from activities.failures import as_failures
from activities.heartbeats import heartbeats
from activities.references import payment_behind
from bank_adapters.port import BankAdapter, StatementLine
from domain.clock import Clock
from domain.contracts.operators import ActionClaim
from domain.contracts.payments import ReturnNotice, StepCommand
from domain.contracts.returns import (
    CLEAR_RETURN,
    FIND_RETURNS,
    FOLLOW_RETURN,
    TAKE_RETURN,
    FindReturns,
    FoundReturns,
    ReturnOutcome,
    ReturnRequest,
    Suspended,
    Unmatched,
)
from domain.contracts.suspense import Clearance, Clearing, NewSuspenseItem, SuspenseItem
from domain.errors import CannotResolve
from domain.money import Money
from domain.returns import CALENDAR_DAYS, GRACE_DAYS, may_still_return
from domain.transactions import Step, TransactionKind, TransactionStatus
from ledger.directory import Directory
from ledger.service import AccountStatus, LedgerService, Transaction

OVERLAP: Final = timedelta(hours=1)
"""Read again each time, for lines that were booked late: who meets a return twice books it once."""
AS_FAR_BACK: Final = timedelta(days=CALENDAR_DAYS + GRACE_DAYS + 30)
MOST_RETURNS: Final = 500
"""Of one reading; the next goes on from there."""
PAYMENT_OPEN: Final = "payment_open"

_SETTLES: Final = {
    TransactionKind.DEPOSIT: Step.SETTLE_DEPOSIT,
    TransactionKind.WITHDRAWAL: Step.SETTLE_WITHDRAWAL,
}
_RETURNS: Final = {
    TransactionKind.DEPOSIT: Step.RETURN_DEPOSIT,
    TransactionKind.WITHDRAWAL: Step.RETURN_WITHDRAWAL,
}


class ReturnActivities:
    """Needs the banks' statements, the ledger, the directory, and business time, by which banks date what they book."""

    def __init__(
        self, banks: Mapping[str, BankAdapter], directory: Directory, ledger: LedgerService, clock: Clock
    ) -> None:
        self._clock = clock
        self._banks = banks
        self._directory = directory
        self._ledger = ledger

    @activity.defn(name=FIND_RETURNS)
    async def find_returns(self, command: FindReturns) -> FoundReturns:
        """All returns on a bank's statement from a moment on, to its end. Retryable: bank_unavailable, bank_unknown."""
        bank, until = self._banks[command.bank], self._clock.now()
        since = until - AS_FAR_BACK if command.since is None else command.since - OVERLAP
        found: list[ReturnRequest] = []
        with as_failures():
            async with heartbeats(lambda: len(found)):
                lines = bank.statement(None, since=since)
                found += [_request(bank.name, line) async for line in lines if line.returned is not None]
        found.sort(key=lambda request: request.returned_at)
        if len(found) > MOST_RETURNS:
            found = found[:MOST_RETURNS]
            # The next reading begins at the last one: with the overlap it would find the same ones, again and again.
            until = found[-1].returned_at + OVERLAP
        return FoundReturns(returns=found, until=until)

    @activity.defn(name=TAKE_RETURN)
    async def take_return(self, request: ReturnRequest) -> ReturnOutcome:
        """Book a return of the payment that it names, once; or say why it cannot be one of ours, and book it so.

        What is no payment's goes to suspense, and comes from there if it is one's after all, unless somebody has said
        meanwhile that the bank has put it right. Retryable: ledger_unavailable, and payment_open while the payment's
        own workflow has not settled it here.
        """
        with as_failures():
            payment = await payment_behind(self._ledger, request.bank, request.reference)
            if payment is None:
                never = _unmatched(Unmatched.UNKNOWN, f"We never sent {request.reference} to {request.bank}.")
                return await self._suspended(request, never)
            if (why := await self._why_not(payment, request)) is not None:
                return await self._suspended(request, why)
            item = await self._matched(request)
            if item is not None and item.cleared_as is not Clearance.MATCHED:
                return ReturnOutcome(unmatched=Unmatched(item.reason), detail=item.detail, suspended=_known(item))
            await self._ledger.take_step(
                StepCommand(transaction_id=payment.transaction_id, step=_RETURNS[payment.kind], notice=request.notice)
            )
        return ReturnOutcome(transaction_id=payment.transaction_id)

    @activity.defn(name=CLEAR_RETURN)
    async def clear_return(self, claim: ActionClaim) -> SuspenseItem:
        """Take a return off the suspense account, because the bank has put it right, or never will and two operators
        write it off; recorded with who said so.

        Raises cannot_resolve where that is not recorded, or the item has ended otherwise; retryable:
        ledger_unavailable.
        """
        outcome = Clearance(claim.outcome)
        with as_failures():
            action = await self._ledger.take_action(claim)
            item = await self._ledger.clear_suspense(
                Clearing(
                    item_id=claim.transaction_id,
                    outcome=outcome,
                    by=action.by,
                    reason=action.reason,
                    evidence=action.evidence,
                    approved_by=action.approved_by,
                )
            )
            if item.cleared_as is not outcome:
                raise CannotResolve(f"It has been {item.cleared_as} meanwhile, as its timeline says.")
        return item

    @activity.defn(name=FOLLOW_RETURN)
    async def follow_return(self, request: ReturnRequest) -> None:
        """Stop what the code forbids on the bank account. Retryable: ledger_unavailable."""
        with as_failures():
            payment = await payment_behind(self._ledger, request.bank, request.reference)
            assert payment is not None, "it was booked"
            assert payment.bank_account_id is not None, "a payment with a bank has a bank account"
            reason = f"{payment.transaction_id} was returned: {request.notice.code}"
            await follow_return_code(
                self._directory, payment.bank_account_id, request.notice.code, request.bank, reason
            )

    async def _suspended(self, request: ReturnRequest, why: ReturnOutcome) -> ReturnOutcome:
        """Why it is no payment's, once it is in the books all the same."""
        assert why.unmatched is not None, "it has no payment"
        if request.moved is None:
            return why
        item = await self._ledger.suspend(
            NewSuspenseItem(
                bank=request.bank,
                return_reference=request.notice.reference,
                reference=request.reference,
                code=request.notice.code,
                moved=request.moved,
                currency=request.amount.currency,
                reason=why.unmatched,
                detail=why.detail,
                returned_at=request.returned_at,
            )
        )
        return replace(why, suspended=_known(item))

    async def _matched(self, request: ReturnRequest) -> SuspenseItem | None:
        """The item of a return that is a payment's after all, if it was suspended; off the suspense account now."""
        item = await self._ledger.find_suspense(request.bank, request.notice.reference)
        if item is None or item.cleared_as is not None:
            return item
        matched = Clearing(
            item_id=item.item_id,
            outcome=Clearance.MATCHED,
            by="workflow",
            reason=f"it is {request.reference} after all",
        )
        return await self._ledger.clear_suspense(matched)

    async def _why_not(self, payment: Transaction, request: ReturnRequest) -> ReturnOutcome | None:
        """Why a return of this payment is not booked; raises payment_open where it is too early to tell."""
        match payment.status:
            case TransactionStatus.PENDING | TransactionStatus.PROCESSING:
                raise ApplicationError(
                    f"{payment.transaction_id} has not settled here yet.",
                    type=PAYMENT_OPEN,
                    category=ApplicationErrorCategory.BENIGN,
                )
            case TransactionStatus.FAILED:
                return _unmatched(Unmatched.NEVER_PAID, f"{payment.transaction_id} failed: nothing was to come back.")
            case TransactionStatus.RETURNED:
                first = await self._returned_as(payment)
                if first == request.notice.reference:
                    return None
                return _unmatched(Unmatched.TWICE, f"{payment.transaction_id} came back before, as {first}.")
            case TransactionStatus.SUCCEEDED:
                settled_at = request.settled_at or await self._settled_at(payment)
                return _why_not_booked(payment, request, settled_at) or await self._closed(payment)

    async def _closed(self, payment: Transaction) -> ReturnOutcome | None:
        """Why a withdrawal that came back has no wallet to go to, if that is closed: it is so for ever."""
        if payment.kind is not TransactionKind.WITHDRAWAL or payment.source_wallet_id is None:
            return None
        wallet = await self._ledger.wallet(payment.source_wallet_id)
        if wallet is None or wallet.status is not AccountStatus.CLOSED:
            return None
        return _unmatched(
            Unmatched.WALLET_CLOSED, f"{wallet.wallet_id} is closed: what came back has no wallet to go to."
        )

    async def _settled_at(self, payment: Transaction) -> datetime:
        """When we heard that it has settled, in business time: where the bank does not say when it did."""
        timeline = await self._ledger.timeline(payment.transaction_id)
        return next(item.effective_at for item in timeline if item.step == _SETTLES[payment.kind])

    async def _returned_as(self, payment: Transaction) -> str | None:
        step = _RETURNS[payment.kind]
        timeline = await self._ledger.timeline(payment.transaction_id)
        return next((item.detail.get("reference") for item in timeline if item.step == step), None)


def _why_not_booked(payment: Transaction, request: ReturnRequest, settled_at: datetime) -> ReturnOutcome | None:
    if payment.amount != request.amount:
        told = f"{request.amount} came back of {payment.transaction_id}, which is of {payment.amount}."
        return _unmatched(Unmatched.WRONG_AMOUNT, told)
    if request.moved is not None and (request.moved < 0) is not (payment.kind is TransactionKind.DEPOSIT):
        told = f"{payment.transaction_id}, a {payment.kind}, came back the wrong way: {request.moved} on our account."
        return _unmatched(Unmatched.WRONG_AMOUNT, told)
    if not may_still_return(request.notice.code, settled_at, request.returned_at):
        told = f"{request.notice.code} came after its window: settled {settled_at.isoformat()}."
        return _unmatched(Unmatched.LATE, told)
    return None


def _unmatched(why: Unmatched, detail: str) -> ReturnOutcome:
    return ReturnOutcome(unmatched=why, detail=detail)


def _known(item: SuspenseItem) -> Suspended:
    return Suspended(item_id=item.item_id, since=item.since, cleared_as=item.cleared_as)


def _request(bank: str, line: StatementLine) -> ReturnRequest:
    assert line.returned is not None
    back = line.returned
    return ReturnRequest(
        bank=bank,
        reference=line.reference,
        amount=Money(abs(line.minor_units), line.currency),
        returned_at=line.booked_at,
        notice=ReturnNotice(reference=back.reference, code=back.code, detail=back.detail),
        settled_at=back.settled_at,
        moved=line.minor_units,
    )
