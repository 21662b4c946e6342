"""Bank activities: one call to one bank each, on that bank's own task queue.

A certain answer (also a refusal) is returned. Doubt is raised and retried, and a later attempt asks the bank by our
reference before it tells it anything again: a bank that paid and then timed out is found, never paid twice.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.failures import as_failures
from bank_adapters.port import BankAdapter, BankPayment, NotSeen, PaymentInstruction
from domain.contracts.activities import LOOK_UP_AT_BANK, PULL_FROM_BANK, PUSH_TO_BANK
from domain.contracts.banks import BankCommand, BankReply, BankState
from domain.errors import BankUnknown, LedgerRejected
from domain.money import Money
from ledger.directory import Directory


class BankActivities:
    """Calls to `banks`. The secret of a bank account comes from the directory, never from a history."""

    def __init__(self, banks: Mapping[str, BankAdapter], directory: Directory) -> None:
        self._banks = banks
        self._directory = directory

    @activity.defn(name=PULL_FROM_BANK)
    async def pull_from_bank(self, command: BankCommand) -> BankReply:
        """Take the amount from the user's bank account. Retryable: bank_unavailable, bank_unknown."""
        with as_failures():
            return await self._send(command, self._banks[command.bank].pull)

    @activity.defn(name=PUSH_TO_BANK)
    async def push_to_bank(self, command: BankCommand) -> BankReply:
        """Pay the amount to the user's bank account. Retryable: bank_unavailable, bank_unknown."""
        with as_failures():
            return await self._send(command, self._banks[command.bank].push)

    @activity.defn(name=LOOK_UP_AT_BANK)
    async def look_up_at_bank(self, command: BankCommand) -> BankReply:
        """What the bank did with the reference. Not seen inside its visibility window is `bank_unknown`."""
        with as_failures():
            bank = self._banks[command.bank]
            answer = await bank.look_up(command.reference)
            if isinstance(answer, BankPayment):
                return _reply(answer, command.amount)
            window = timedelta(seconds=bank.capabilities.visibility_window_seconds)
            if command.last_sent_at is not None and datetime.now(UTC) < command.last_sent_at + window:
                raise BankUnknown(f"{command.bank} has not seen {command.reference} yet; it may still turn up.")
            return BankReply(state=BankState.NOT_SEEN)

    async def _send(
        self, command: BankCommand, send: Callable[[PaymentInstruction], Awaitable[BankPayment]]
    ) -> BankReply:
        if command.ask_first or activity.info().attempt > 1:
            known = await self._banks[command.bank].look_up(command.reference)
            if not isinstance(known, NotSeen):
                return _reply(known, command.amount)
        account = await self._directory.bank_account(command.bank_account_id)
        if account is None:
            raise LedgerRejected(f"there is no bank account {command.bank_account_id}")
        instruction = PaymentInstruction(
            reference=command.reference, account_token=account.account_token, amount=command.amount, memo=command.memo
        )
        return _reply(await send(instruction), command.amount)


def _reply(payment: BankPayment, asked: Money) -> BankReply:
    if payment.amount != asked:
        raise BankUnknown(f"The bank says {payment.amount} of {payment.reference}, we asked for {asked}.")
    return BankReply(
        state=BankState(payment.state.value),
        bank_payment_id=payment.bank_payment_id,
        refusal_code=payment.refusal_code,
        refusal_detail=payment.refusal_detail,
    )
