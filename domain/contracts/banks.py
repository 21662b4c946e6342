"""What activities say to workflows about a bank."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.ids import BankAccountId, TransactionId
from domain.money import Money
from domain.rails import Rail


class BankState(StrEnum):
    """What a bank has done with a payment, as far as it is certain."""

    ACCEPTED = "accepted"
    SETTLED = "settled"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    NOT_SEEN = "not_seen"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankCommand:
    """Pull from, push to, or ask about a bank account. `reference` is ours; the bank is idempotent by it.

    With `ask_first` an earlier run may have sent it, so the bank is asked before it is told again. A look-up answers
    NOT_SEEN only when nothing that was under way at `last_sent_at` can still turn up.
    """

    transaction_id: TransactionId
    reference: str
    bank: str
    bank_account_id: BankAccountId
    amount: Money
    rail: Rail = Rail.INSTANT
    memo: str | None = None
    ask_first: bool = False
    last_sent_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BankReply:
    """A certain answer. An uncertain one is never a value: the activity raises, is retried, and asks by reference.

    NOT_SEEN is certain too: the bank's visibility window has passed and it never got the reference. So is NOT_SENT:
    the bank account's link does not allow it any more, as `refusal_detail` says, and nothing was ever sent.
    A refusal that is `rail_only` leaves the payment to another rail.
    """

    state: BankState
    bank_payment_id: str | None = None
    refusal_code: str | None = None
    refusal_detail: str | None = None
    rail_only: bool = False
