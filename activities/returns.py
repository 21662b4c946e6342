"""Returns: read from a bank's statement, matched with the payment, booked, and what follows for the bank account."""

from collections.abc import Mapping
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
from domain.contracts.payments import ReturnNotice, StepCommand
from domain.contracts.returns import (
    FIND_RETURNS,
    FOLLOW_RETURN,
    TAKE_RETURN,
    FindReturns,
    FoundReturns,
    ReturnOutcome,
    ReturnRequest,
    Unmatched,
)
from domain.money import Money
from domain.returns import CALENDAR_DAYS, GRACE_DAYS, may_still_return
from domain.transactions import Step, TransactionKind, TransactionStatus
from ledger.directory import Directory
from ledger.service import LedgerService, Transaction

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
                for currency in bank.capabilities.currencies:
                    lines = bank.statement(currency, since=since)
                    found += [_request(bank.name, line) async for line in lines if line.returned is not None]
        found.sort(key=lambda request: request.returned_at)
        if len(found) > MOST_RETURNS:
            found = found[:MOST_RETURNS]
            # The next reading begins at the last one: with the overlap it would find the same ones, again and again.
            until = found[-1].returned_at + OVERLAP
        return FoundReturns(returns=found, until=until)

    @activity.defn(name=TAKE_RETURN)
    async def take_return(self, request: ReturnRequest) -> ReturnOutcome:
        """Book a return of the payment that it names, once; or say why it cannot be one of ours.

        Retryable: ledger_unavailable, and payment_open while the payment's own workflow has not settled it here.
        """
        with as_failures():
            payment = await payment_behind(self._ledger, request.bank, request.reference)
            if payment is None:
                return _unmatched(Unmatched.UNKNOWN, f"We never sent {request.reference} to {request.bank}.")
            if (why := await self._why_not(payment, request)) is not None:
                return why
            await self._ledger.take_step(
                StepCommand(transaction_id=payment.transaction_id, step=_RETURNS[payment.kind], notice=request.notice)
            )
        return ReturnOutcome(transaction_id=payment.transaction_id)

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
                return _why_not_booked(payment, request, request.settled_at or await self._settled_at(payment))

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
    if not may_still_return(request.notice.code, settled_at, request.returned_at):
        told = f"{request.notice.code} came after its window: settled {settled_at.isoformat()}."
        return _unmatched(Unmatched.LATE, told)
    return None


def _unmatched(why: Unmatched, detail: str) -> ReturnOutcome:
    return ReturnOutcome(unmatched=why, detail=detail)


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
    )
