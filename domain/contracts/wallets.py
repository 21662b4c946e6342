"""What operators may change about a wallet: which sides are frozen, what may leave it, and that it is closed."""

from dataclasses import dataclass
from enum import StrEnum

from domain.contracts.payments import IdempotencyRecord


class ChangeKind(StrEnum):
    """What a change does. A closed wallet is never changed again."""

    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    LIMIT = "limit"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletLimits:
    """The most that may leave a wallet in one payment, and on one day in New York. Minor units; None is no limit."""

    per_transaction: int | None = None
    daily: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletChange:
    """One change, with who asks for it and why. `debits` and `credits` are the sides to freeze or unfreeze.

    The same `key` again changes nothing more; without one, a change that changes nothing is not recorded.
    """

    kind: ChangeKind
    by: str
    reason: str
    debits: bool = True
    credits: bool = True
    limits: WalletLimits = WalletLimits()
    key: IdempotencyRecord | None = None
