"""What notifications say: plain text for one person about their own side of what happened.

Of the other side of a payment they say what the history shows to this person: the memo, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from domain.errors import DecisionCode
from domain.events import (
    AnyEvent,
    TransactionCompletedEvent,
    TransactionEvent,
    TransactionFailedEvent,
    TransactionReturnedEvent,
    WalletClosedEvent,
    WalletEvent,
    WalletFrozenEvent,
    WalletLimitedEvent,
    WalletUnfrozenEvent,
)
from domain.ids import WalletId
from domain.money import format_minor
from domain.notifications import NotificationKind
from domain.transactions import TransactionKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What an event means to the owner of one wallet, before it is known who that is."""

    kind: NotificationKind
    wallet_id: WalletId
    subject: str = field(repr=False)
    text: str = field(repr=False)

    def body_for(self, name: str) -> str:
        """The whole text, to a person of that name."""
        return f"Hello {name},\n\n{self.text}\n"


_KINDS: Final[Mapping[TransactionKind, str]] = {
    TransactionKind.TRANSFER: "payment",
    TransactionKind.DEPOSIT: "deposit",
    TransactionKind.WITHDRAWAL: "withdrawal",
}

REASONS: Final[Mapping[str, str]] = {
    DecisionCode.INSUFFICIENT_FUNDS: "Your wallet did not have that much available.",
    DecisionCode.WALLET_FROZEN: "A wallet of it may not be used at the moment.",
    DecisionCode.WALLET_CLOSED: "A wallet of it is closed.",
    DecisionCode.LIMIT_PER_TRANSACTION_EXCEEDED: "It was more than may leave your wallet in one payment.",
    DecisionCode.LIMIT_DAILY_EXCEEDED: "With it, more would have left your wallet than may on one day.",
    DecisionCode.WALLET_OWES: "Your wallet owes what a returned deposit had brought.",
    DecisionCode.CURRENCY_MISMATCH: "A wallet of it is kept in another currency.",
    DecisionCode.HOLD_ENDED: "The money was no longer set aside for it.",
    DecisionCode.HOLD_EXCEEDED: "It was more than was set aside for it.",
    DecisionCode.BANK_ACCOUNT_INACTIVE: "Your linked bank account does not allow it.",
    DecisionCode.BANK_REFUSED: "Your bank refused it.",
    DecisionCode.RESOLVED_UNPAID: "Your bank has not paid it.",
    DecisionCode.BATCH_REFUSED: "It was to be made only together with others, of which one could not be made.",
    DecisionCode.CANCELLED: "It was cancelled.",
}
"""Why a payment failed, in words for its payer: never what a bank or an operator wrote."""


def amount_text(minor_units: int, currency: str) -> str:
    """An amount for people, e.g. 123456789 USD → "1,234,567.89 USD", 500 JPY → "500 JPY"."""
    number, _, code = format_minor(minor_units, currency).partition(" ")
    whole, point, fraction = number.partition(".")
    return f"{int(whole):,}{point}{fraction} {code}"


def notices_of(event: AnyEvent) -> list[Notice]:
    """What an event means, at most one notice of each kind. Most events mean nothing."""
    match event:
        case TransactionCompletedEvent():
            return _completed(event)
        case TransactionFailedEvent():
            return _failed(event)
        case TransactionReturnedEvent():
            return _returned(event)
        case WalletFrozenEvent() | WalletUnfrozenEvent() | WalletLimitedEvent() | WalletClosedEvent():
            return [_wallet_changed(event)]
        case _:
            return []


def _completed(event: TransactionEvent) -> list[Notice]:
    amount = amount_text(event.amount, event.currency)
    match event.kind:
        case TransactionKind.TRANSFER:
            sides = [
                (NotificationKind.PAYMENT_SENT, event.sender_id, f"You paid {amount}"),
                (NotificationKind.PAYMENT_RECEIVED, event.receiver_id, f"You received {amount}"),
            ]
        case TransactionKind.DEPOSIT:
            said = f"{amount} came in from your bank account"
            sides = [(NotificationKind.DEPOSIT_COMPLETED, event.receiver_id, said)]
        case TransactionKind.WITHDRAWAL:
            said = f"{amount} went out to your bank account"
            sides = [(NotificationKind.WITHDRAWAL_COMPLETED, event.sender_id, said)]
    return [_notice(event, kind, wallet_id, said) for kind, wallet_id, said in sides if wallet_id is not None]


def _failed(event: TransactionEvent) -> list[Notice]:
    """Told to whose wallet asked for it alone: who was to be paid has heard of nothing."""
    amount = amount_text(event.amount, event.currency)
    said = f"Your {_KINDS[event.kind]} of {amount} was not made"
    reason = REASONS.get(event.failure.code) if event.failure else None
    owner = event.receiver_id if event.kind is TransactionKind.DEPOSIT else event.sender_id
    return [_notice(event, NotificationKind.PAYMENT_FAILED, owner, said, reason)] if owner is not None else []


def _returned(event: TransactionEvent) -> list[Notice]:
    amount = amount_text(event.amount, event.currency)
    said = f"Your bank returned your {_KINDS[event.kind]} of {amount}"
    if event.kind is TransactionKind.DEPOSIT:
        owner, meaning = event.receiver_id, "It was taken out of your wallet again. What the wallet lacked, it owes."
    else:
        owner, meaning = event.sender_id, "It is in your wallet again."
    return [_notice(event, NotificationKind.PAYMENT_RETURNED, owner, said, meaning)] if owner is not None else []


def _notice(
    event: TransactionEvent, kind: NotificationKind, wallet_id: WalletId, said: str, more: str | None = None
) -> Notice:
    lines = [f"{said}.", *([more] if more else []), ""]
    if event.memo:
        lines.append(f"Memo: {event.memo}")
    lines += [f"Payment: {event.tx_id}", f"Time: {_time_text(event.timestamp)}"]
    return Notice(kind=kind, wallet_id=wallet_id, subject=said, text="\n".join(lines))


def _wallet_changed(event: WalletEvent) -> Notice:
    """Who has changed it, and why, is the operators' affair."""
    still = ["Nothing can be paid from it."] if event.debits_frozen else []
    still += ["Nothing can be paid into it."] if event.credits_frozen else []
    match event:
        case WalletClosedEvent():
            said, lines = "Your wallet is closed", ["It is never opened again."]
        case WalletLimitedEvent():
            said = "Your wallet has other limits"
            in_one = _limit_text("in one payment", event.limit_per_transaction, event.currency)
            lines = [in_one, _limit_text("on one day", event.limit_daily, event.currency)]
        case WalletUnfrozenEvent():
            said, lines = f"Your wallet can be used again{' in part' if still else ''}", still
        case _:
            said, lines = "Your wallet is frozen", still
    text = "\n".join([f"{said}.", *lines, "", f"Wallet: {event.wallet_id}", f"Time: {_time_text(event.timestamp)}"])
    return Notice(kind=NotificationKind.WALLET_CHANGED, wallet_id=event.wallet_id, subject=said, text=text)


def _limit_text(when: str, limit: int | None, currency: str) -> str:
    most = f"At most {amount_text(limit, currency)}" if limit is not None else "As much as it holds"
    return f"{most} may leave it {when}."


def _time_text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
