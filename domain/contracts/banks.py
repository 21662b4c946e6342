"""What activities say to workflows about a bank."""

from dataclasses import dataclass
from enum import StrEnum

from domain.ids import BankAccountId, TransactionId
from domain.money import Money


class BankState(StrEnum):
    """What a bank has done with a payment, as far as it is certain."""

    ACCEPTED = "accepted"
    SETTLED = "settled"
    REFUSED = "refused"
    NOT_SEEN = "not_seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankCommand:
    """Pull from, push to, or ask about a bank account. `reference` is ours; the bank is idempotent by it."""

    transaction_id: TransactionId
    reference: str
    bank: str
    bank_account_id: BankAccountId
    amount: Money
    request_timeout_seconds: float = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BankReply:
    """A certain answer. An uncertain one is never a value: the activity raises, is retried, and asks by reference.

    NOT_SEEN is certain too: the bank's visibility window has passed and it never got the reference.
    """

    state: BankState
    bank_payment_id: str | None = None
    refusal_code: str | None = None
    refusal_detail: str | None = None
