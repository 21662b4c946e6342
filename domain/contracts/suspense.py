"""Suspense: what a bank has taken from us or sent to us, and is no payment's that we know of, until somebody finds out.

An item is in the books, so that our accounts at the bank are what its statement says, and in nobody's wallet.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zlib import crc32

from domain.ids import BUCKETS, TransactionId


class Clearance(StrEnum):
    """How an item has ended.

    The bank has put it right, it was a payment's after all and is booked as its return, or nobody will ever put it
    right, and two operators have said so.
    """

    CORRECTED = "corrected"
    MATCHED = "matched"
    WRITTEN_OFF = "written_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSuspenseItem:
    """A line of a bank's statement: `moved` is signed minor units of `currency`, positive where we received.

    `return_reference` is the bank's own, once for each; `reference` the payment's that the bank names, `code` and
    `reason` why it came and why it is not booked.
    """

    bank: str
    return_reference: str
    reference: str
    code: str
    moved: int
    currency: str
    reason: str
    detail: str
    returned_at: datetime

    @property
    def bucket(self) -> int:
        """Where it is kept: whoever reads the line again comes to the same place."""
        return suspense_bucket(self.bank, self.return_reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspenseItem(NewSuspenseItem):
    """A recorded item. Its entries carry `item_id` as their transaction's, and there is no such payment."""

    item_id: TransactionId
    since: datetime
    cleared_as: Clearance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """Take an item off the suspense account.

    `by` says who, `evidence` how it can be proved what the bank did, `approved_by` who has agreed to a write-off.
    """

    item_id: TransactionId
    outcome: Clearance
    by: str
    reason: str
    evidence: str | None = None
    approved_by: str | None = None


def suspense_bucket(bank: str, return_reference: str) -> int:
    """Where the item of a bank's return is kept: 0 to BUCKETS - 1."""
    return crc32(f"{bank}:{return_reference}".encode()) % BUCKETS
