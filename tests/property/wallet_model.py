"""A wallet as a few numbers: its money, its rules, and what counts against its daily limit."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from domain.contracts.wallets import WalletLimits
from domain.ids import BUCKETS, PrefixedId
from ledger.service import AccountStatus

NOON = datetime(2026, 3, 7, 17, tzinfo=UTC)
"""In New York, on the day before its clocks go forward."""
SHARDS = 2

Standing = tuple[object, ...]


def at_noon(day: int) -> datetime:
    """Business time on a day, counted from the first."""
    return NOON + timedelta(days=day)


def day_of(moment: datetime) -> int:
    """The day on which it is that time."""
    return (moment - NOON).days


def shard_of(owned: PrefixedId) -> int:
    """Where an id lives: the lower half of the buckets on one shard, the upper half on the other."""
    return int(owned.bucket >= BUCKETS // SHARDS)


@dataclass
class WalletModel:
    """A wallet. Amounts are minor units; `spent` is what began to leave on `spent_on` and has not come back."""

    posted: int = 0
    held: int = 0
    entries: int = 0
    debits_frozen: bool = False
    credits_frozen: bool = False
    closed: bool = False
    limits: WalletLimits = field(default_factory=WalletLimits)
    spent: int = 0
    spent_on: int | None = None
    owed: int = 0

    @property
    def standing(self) -> Standing:
        """Everything, as the ledger shows it."""
        day = None if self.spent_on is None else at_noon(self.spent_on).date()
        rules = self.status, self.debits_frozen, self.credits_frozen, self.limits
        return self.posted, self.held, self.entries, *rules, self.spent, day, self.owed

    @property
    def status(self) -> AccountStatus:
        """In a word."""
        if self.closed:
            return AccountStatus.CLOSED
        return AccountStatus.FROZEN if self.debits_frozen or self.credits_frozen else AccountStatus.ACTIVE

    def bars_debits(self) -> str | None:
        """Why nothing leaves it, if nothing does."""
        if self.closed or self.debits_frozen:
            return "wallet_closed" if self.closed else "wallet_frozen"
        return "wallet_owes" if self.owed else None

    def bars_credits(self) -> str | None:
        """Why nothing arrives, if nothing does."""
        return "wallet_closed" if self.closed else "wallet_frozen" if self.credits_frozen else None

    def lacks(self, amount: int, day: int) -> str | None:
        """Why so much does not leave it on a day."""
        at_once, left = self.limits.per_transaction, self._left(day)
        if at_once is not None and amount > at_once:
            return "limit_per_transaction_exceeded"
        if left is not None and amount > left:
            return "limit_daily_exceeded"
        return "insufficient_funds" if self.posted - self.held < amount else None

    def most(self, day: int) -> int:
        """What may leave it on a day."""
        bounds = self.posted - self.held, self.limits.per_transaction, self._left(day)
        return min(bound for bound in bounds if bound is not None)

    def _left(self, day: int) -> int | None:
        """What its daily limit leaves of a day."""
        if self.limits.daily is None:
            return None
        return self.limits.daily - (self.spent if self._counts(day) else 0)

    def _counts(self, day: int) -> bool:
        """Whether it is, or is before, the day that is counted."""
        return self.spent_on is not None and day <= self.spent_on

    def move(self, amount: int) -> None:
        """One entry."""
        self.posted += amount
        self.entries += 1

    def pay_debt(self) -> None:
        """What it can of what it owes."""
        if paid := min(self.owed, max(0, self.posted - self.held)):
            self.move(-paid)
            self.owed -= paid

    def spend(self, amount: int, day: int) -> None:
        """Something begins to leave."""
        if not self._counts(day):
            self.spent_on, self.spent = day, 0
        self.spent += amount

    def give_back(self, amount: int, day: int) -> None:
        """What began to leave on a day stays after all."""
        if day == self.spent_on:
            self.spent -= amount

    def freeze(self, frozen: bool, *, debits: bool, credits: bool) -> None:  # noqa: A002  -- the ledger's own word
        """Or unfreeze, the sides that are named."""
        self.debits_frozen = frozen if debits else self.debits_frozen
        self.credits_frozen = frozen if credits else self.credits_frozen

    def close(self) -> None:
        """For ever."""
        self.closed, self.debits_frozen, self.credits_frozen = True, False, False
