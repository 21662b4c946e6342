"""What people are told about their money, and over what: the words of preferences, tables and metrics."""

from enum import StrEnum


class NotificationKind(StrEnum):
    """What a notification is about. Each event means each kind at most once, for one person."""

    PAYMENT_SENT = "payment_sent"
    PAYMENT_RECEIVED = "payment_received"
    DEPOSIT_COMPLETED = "deposit_completed"
    WITHDRAWAL_COMPLETED = "withdrawal_completed"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_RETURNED = "payment_returned"
    WALLET_CHANGED = "wallet_changed"


class ChannelName(StrEnum):
    """What a notification goes over. A preference may name any; what is sent over is what the settings turn on."""

    EMAIL = "email"
    PUSH = "push"
    SMS = "sms"
