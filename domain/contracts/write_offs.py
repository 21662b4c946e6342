"""Write-offs: what a wallet owes and will not pay is ours to bear, when two operators say so."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.contracts.payments import IdempotencyRecord
from domain.ids import TransactionId, WalletId
from domain.money import Money


class WriteOffState(StrEnum):
    """How far a write-off is. What was asked for waits until another operator approves it, or one withdraws it."""

    ASKED = "asked"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWriteOff:
    """What an operator asks for: to write off at most `minor_units` of what the wallet owes, or (None) all of it.

    `evidence` says how it can be proved that nothing more will come.
    """

    wallet_id: WalletId
    minor_units: int | None
    by: str
    reason: str
    evidence: str
    key: IdempotencyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOff:
    """A write-off as recorded. Its entries carry `write_off_id` as their transaction's; there is no such payment.

    At most `amount` is written off. `written_off`, in minor units, is what was, if it was approved: a credit may have
    paid some of it before. `ended_by` and `note` say who approved or withdrew it, and why.
    """

    write_off_id: TransactionId
    wallet_id: WalletId
    amount: Money
    state: WriteOffState
    by: str
    reason: str
    evidence: str
    created_at: datetime
    written_off: int | None = None
    ended_by: str | None = None
    note: str | None = None
    replayed: bool = False
