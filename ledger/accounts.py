"""Accounts in memory while a step is decided, and which accounts a step means by its roles."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Final, Literal

from domain.ids import AccountId, SystemAccountId, TransactionId, WalletId
from ledger.rules import Role
from ledger.service import AccountStatus

Side = Literal["DEBIT", "CREDIT"]

STRIPES: Final = 8
"""System accounts are kept this many times per shard, so that payments do not queue for one row."""

CREDIT_NORMAL: Final = frozenset({"wallet", "due_to", "fees", "suspense"})


@dataclass(slots=True)
class Account:
    """A locked account: what the database has, changed in memory until it is written.

    The fields are in the order of `LOCK_ACCOUNTS`.
    """

    hex: str
    """The id's digits."""
    kind: str
    currency: str
    balance: int
    held: int
    floor: int | None
    version: int
    status: AccountStatus
    updated_at: datetime
    debits_frozen: bool = False
    credits_frozen: bool = False
    limit_per_transaction: int | None = None
    limit_daily: int | None = None
    spent_on: date | None = None
    spent: int = 0
    owed: int = 0
    """Minor units of returned deposits that the wallet did not have when they were taken back."""

    @property
    def public_id(self) -> AccountId:
        """The id as events and answers show it."""
        return (WalletId if self.kind == "wallet" else SystemAccountId).from_hex(self.hex)

    def apply(self, side: Side, amount: int) -> None:
        """Write one entry: moves the balance and counts the version. Amount in minor units."""
        normal: Side = "CREDIT" if self.kind in CREDIT_NORMAL else "DEBIT"
        self.balance += amount if side == normal else -amount
        self.version += 1

    def can_spend(self, amount: int) -> bool:
        """Whether `balance − held ≥ floor` would still be true after `amount` left or was held."""
        return self.floor is None or self.balance - self.held - amount >= self.floor

    @property
    def collectable(self) -> int:
        """What can be taken of what the wallet owes: never what is held."""
        return min(self.owed, max(0, self.balance - self.held))

    def spent_by(self, day: date) -> int:
        """What counts as spent on a banking day. A day before the last one counts as the last: time ran backwards."""
        return self.spent if self.spent_on is not None and day <= self.spent_on else 0

    def spend(self, amount: int, day: date) -> None:
        """Count what leaves, or is held to leave."""
        self.spent = self.spent_by(day) + amount
        self.spent_on = max(day, self.spent_on or day)

    def give_back(self, amount: int, day: date) -> None:
        """Take off what was counted on `day` and stays after all, while that is the day that is counted."""
        if day == self.spent_on:
            assert self.spent >= amount, f"{self.public_id} gets back more than it has spent"
            self.spent -= amount


@dataclass(frozen=True, slots=True)
class SystemAccount:
    """One stripe of one of our own accounts, named by its code; made when it is first needed."""

    kind: str
    code: str
    currency: str

    @property
    def hex(self) -> str:
        """The id's digits, derived from the code, so that nobody has to ask."""
        return _digits_of(self.code)


@cache
def _digits_of(code: str) -> str:
    return SystemAccountId.from_code(code).hex


class SystemAccountsMissing(Exception):
    """Steps need accounts of ours that are not there, or not locked: opened, they are locked at the next try."""

    def __init__(self, accounts: list[SystemAccount]) -> None:
        self.accounts = accounts
        super().__init__(", ".join(account.code for account in accounts))


def system_account(role: Role, party: str, currency: str, transaction_id: TransactionId) -> SystemAccount:
    """The stripe of `role` that this transaction uses in all its steps; `party` is a bank or another shard."""
    return _striped(role, party, currency, transaction_id.bucket)


def receivable_of(wallet: WalletId, currency: str) -> SystemAccount:
    """The stripe of what wallets owe us that this one's debt is always kept on."""
    return _striped(Role.RECEIVABLE, "wallets", currency, wallet.bucket)


def losses_of(wallet: WalletId, currency: str) -> SystemAccount:
    """The stripe of what we have lost that this wallet's written-off debts are kept on."""
    return _striped(Role.LOSSES, "wallets", currency, wallet.bucket)


def _striped(role: Role, party: str, currency: str, bucket: int) -> SystemAccount:
    return SystemAccount(role.value, f"{role.value}:{party}:{currency}:{bucket % STRIPES}", currency)
