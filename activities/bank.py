"""Bank activities: one call to one bank each, on that bank's own task queue.

A certain answer (also a refusal) is returned. Doubt is raised and retried, and a later attempt asks the bank by our
reference before it tells it anything again: a bank that paid and then timed out is found, never paid twice.

An attempt may outlive its workflow's interest in it (its process slept, an operator terminated or reset the workflow).
So it sends within one visibility window of its start or not at all, and "never seen" is certain after two.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio import activity

from activities.bank_codes import follow_refusal_code
from activities.failures import as_failures
from activities.heartbeats import heartbeats
from bank_adapters.port import BankAdapter, BankPayment, NotSeen, PaymentInstruction, PaymentState
from domain.contracts.activities import CANCEL_AT_BANK, LOOK_UP_AT_BANK, PULL_FROM_BANK, PUSH_TO_BANK
from domain.contracts.banks import BankCommand, BankReply, BankState
from domain.errors import BankUnavailable, BankUnknown, LedgerRejected
from domain.money import Money
from domain.transactions import Step, TransactionKind
from ledger.directory import Directory
from ledger.service import LedgerService

_STATES: Final = {
    PaymentState.ACCEPTED: BankState.ACCEPTED,
    PaymentState.SETTLED: BankState.SETTLED,
    PaymentState.REFUSED: BankState.REFUSED,
    PaymentState.CANCELLED: BankState.CANCELLED,
    PaymentState.RETURNED: BankState.SETTLED,
}
"""What came back had settled: its own payment ends well, and the return is a story of its own."""


_BOOKED: Final = (Step.CREDIT_DEPOSIT, Step.CAPTURE_WITHDRAWAL)


class BankActivities:
    """Calls to `banks`. The secret of a bank account comes from the directory, never from a history.

    It is read under a lock right before it is used: a link that was stopped meanwhile moves no money any more.
    The ledger is asked whether the payment is still open: a workflow that an operator has reset does not know.
    """

    def __init__(self, banks: Mapping[str, BankAdapter], directory: Directory, ledger: LedgerService) -> None:
        self._banks = banks
        self._directory = directory
        self._ledger = ledger

    @activity.defn(name=PULL_FROM_BANK)
    async def pull_from_bank(self, command: BankCommand) -> BankReply:
        """Take the amount from the user's bank account. Retryable: bank_unavailable, bank_unknown."""
        with as_failures():
            async with heartbeats():
                return await self._send(command, TransactionKind.DEPOSIT)

    @activity.defn(name=PUSH_TO_BANK)
    async def push_to_bank(self, command: BankCommand) -> BankReply:
        """Pay the amount to the user's bank account. Retryable: bank_unavailable, bank_unknown."""
        with as_failures():
            async with heartbeats():
                return await self._send(command, TransactionKind.WITHDRAWAL)

    @activity.defn(name=LOOK_UP_AT_BANK)
    async def look_up_at_bank(self, command: BankCommand) -> BankReply:
        """What the bank did with the reference. Not seen inside its visibility window is `bank_unknown`."""
        with as_failures():
            bank = self._banks[command.bank]
            async with heartbeats():
                answer = await bank.look_up(command.reference)
            if isinstance(answer, BankPayment):
                return _reply(answer, command.amount)
            if command.last_sent_at is not None and datetime.now(UTC) < command.last_sent_at + 2 * _window(bank):
                raise BankUnknown(f"{command.bank} has not seen {command.reference} yet; it may still turn up.")
            return BankReply(state=BankState.NOT_SEEN)

    @activity.defn(name=CANCEL_AT_BANK)
    async def cancel_at_bank(self, command: BankCommand) -> BankReply:
        """Take an accepted payment back, if its rail still lets it: CANCELLED then, else how far the bank is with it.

        What is in our books already stays: an earlier run may have gone further than this one knows.
        Retryable: bank_unavailable, bank_unknown. Repeating it is harmless.
        """
        with as_failures():
            bank = self._banks[command.bank]
            ask = bank.look_up if await self._is_booked(command) else bank.cancel
            async with heartbeats():
                answer = await ask(command.reference)
            if isinstance(answer, NotSeen):
                raise BankUnknown(f"{command.bank} had {command.reference}, and does not know it now.")
            return _reply(answer, command.amount)

    async def _send(self, command: BankCommand, kind: TransactionKind) -> BankReply:
        """Tell the bank, and stop on the bank account what the code of a refusal forbids."""
        reply = await self._told(command, kind)
        if reply.state is BankState.REFUSED and reply.refusal_code is not None and not reply.rail_only:
            reason = f"{command.transaction_id} was refused: {reply.refusal_code}"
            account = command.bank_account_id
            await follow_refusal_code(self._directory, account, reply.refusal_code, command.bank, reason)
        return reply

    async def _told(self, command: BankCommand, kind: TransactionKind) -> BankReply:
        bank = self._banks[command.bank]
        send = bank.pull if kind is TransactionKind.DEPOSIT else bank.push
        finished, asked_at = await self._is_finished(command), datetime.now(UTC)
        may_be_sent = command.ask_first or activity.info().attempt > 1
        if may_be_sent or finished:
            known = await bank.look_up(command.reference)
            if not isinstance(known, NotSeen):
                return _reply(known, command.amount)
        if finished:
            return BankReply(state=BankState.NOT_SEEN)
        account = await self._directory.bank_account_for_payment(command.bank_account_id)
        if account is None:
            raise LedgerRejected(f"there is no bank account {command.bank_account_id}")
        if barred := account.status.why_not(kind):
            # An attempt that still saw the link as it was has sent within a window of the change, or never does.
            if may_be_sent and asked_at < account.status_since + 2 * _window(bank):
                raise BankUnavailable(f"{barred} An earlier request may still turn up; the bank is asked again.")
            # A workflow that was reset does not know of an earlier run's request; the bank does.
            known = await bank.look_up(command.reference)
            if not isinstance(known, NotSeen):
                return _reply(known, command.amount)
            return BankReply(state=BankState.NOT_SENT, refusal_detail=barred)
        not_after = activity.info().started_time + _window(bank)
        if datetime.now(UTC) > not_after:
            raise BankUnavailable("This attempt was held up for too long to send anything; the next one does.")
        instruction = PaymentInstruction(
            reference=command.reference,
            account_token=account.account_token,
            amount=command.amount,
            rail=command.rail,
            memo=command.memo,
            not_after=not_after,
        )
        return _reply(await _unbroken(send(instruction)), command.amount)

    async def _is_booked(self, command: BankCommand) -> bool:
        timeline = await self._ledger.timeline(command.transaction_id)
        return any(item.type == "step.posted" and item.step in _BOOKED for item in timeline)

    async def _is_finished(self, command: BankCommand) -> bool:
        transaction = await self._ledger.transaction(command.transaction_id)
        if transaction is None:
            raise LedgerRejected(f"{command.transaction_id} is not recorded")
        return transaction.status.final


async def _unbroken(request: Awaitable[BankPayment]) -> BankPayment:
    """A request under way is not torn off by a cancellation: its outcome is worth more than the time."""
    sending = asyncio.ensure_future(request)
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        return await sending


def _window(bank: BankAdapter) -> timedelta:
    return timedelta(seconds=bank.capabilities.visibility_window_seconds)


def _reply(payment: BankPayment, asked: Money) -> BankReply:
    if payment.amount != asked:
        raise BankUnknown(f"The bank says {payment.amount} of {payment.reference}, we asked for {asked}.")
    return BankReply(
        state=_STATES[payment.state],
        bank_payment_id=payment.bank_payment_id,
        refusal_code=payment.refusal_code,
        refusal_detail=payment.refusal_detail,
        rail_only=payment.rail_only,
    )
