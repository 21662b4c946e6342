"""Why a new payment or hold is decided against, in the order in which it is looked for. Pure."""

from datetime import datetime

from domain.calendar import banking_date
from domain.contracts.payments import Failure
from domain.errors import DecisionCode, LedgerRejected
from domain.money import Money
from ledger.accounts import Account
from ledger.rules import Role
from ledger.service import AccountStatus


def demand_open(account: Account) -> None:
    """Raises LedgerRejected for a wallet that is closed for ever."""
    if account.status is AccountStatus.CLOSED:
        raise LedgerRejected(f"{account.public_id} is closed: what comes back has nowhere to go")


def barred(amount: Money, accounts: dict[Role, Account]) -> Failure | None:
    """Why wallets take no part in a new payment, or None. The order is part of the contract."""
    for role in (Role.SOURCE, Role.DESTINATION):
        account = accounts.get(role)
        if account is None:
            continue
        who, side, frozen = (
            ("The sender's", "debits", account.debits_frozen)
            if role is Role.SOURCE
            else ("The receiver's", "credits", account.credits_frozen)
        )
        if account.status is AccountStatus.CLOSED:
            return Failure(code=DecisionCode.WALLET_CLOSED, detail=f"{who} wallet is closed.")
        if frozen:
            return Failure(code=DecisionCode.WALLET_FROZEN, detail=f"{who} wallet is frozen for {side}.")
        if role is Role.SOURCE and account.owed:
            owed = Money(account.owed, account.currency)
            return Failure(code=DecisionCode.WALLET_OWES, detail=f"The sender's wallet owes {owed} first.")
        if account.currency != amount.currency:
            return Failure(
                code=DecisionCode.CURRENCY_MISMATCH,
                detail=f"{who} wallet is in {account.currency}, the amount in {amount.currency}.",
            )
    return None


def lacking(amount: Money, accounts: dict[Role, Account], effective_at: datetime) -> Failure | None:
    """Why so much may not leave the source wallet in a new payment or hold, or None."""
    source = accounts.get(Role.SOURCE)
    if source is None:
        return None
    if failure := _over_limit(source, amount, effective_at):
        return failure
    if not source.can_spend(amount.minor_units):
        return Failure(code=DecisionCode.INSUFFICIENT_FUNDS, detail="The available balance is less than the amount.")
    return None


def _over_limit(source: Account, amount: Money, effective_at: datetime) -> Failure | None:
    """Why no more may leave a wallet on the banking day of `effective_at`, or None."""
    asked = amount.minor_units
    if source.limit_per_transaction is not None and asked > source.limit_per_transaction:
        most = Money(source.limit_per_transaction, source.currency)
        return Failure(
            code=DecisionCode.LIMIT_PER_TRANSACTION_EXCEEDED, detail=f"At most {most} may leave the wallet at once."
        )
    if source.limit_daily is not None and source.spent_by(banking_date(effective_at)) + asked > source.limit_daily:
        most = Money(source.limit_daily, source.currency)
        return Failure(code=DecisionCode.LIMIT_DAILY_EXCEEDED, detail=f"At most {most} may leave the wallet in a day.")
    return None
