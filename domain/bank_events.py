"""What banks tell by themselves, in our words."""

from enum import StrEnum


class BankEventType(StrEnum):
    """What a bank says has become of a payment. It is asked by reference before anything is believed."""

    PAYMENT_SETTLED = "payment.settled"
    PAYMENT_REFUSED = "payment.refused"
    PAYMENT_RETURNED = "payment.returned"


class BankEventOutcome(StrEnum):
    """What was done about an event of a bank."""

    WOKEN = "woken"
    STATEMENT_READ = "statement_read"
    NOT_RUNNING = "not_running"
    UNKNOWN_PAYMENT = "unknown_payment"
    IGNORED = "ignored"
