"""What notifications say, to whom, and that every event is known to mean something or nothing."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.notification_preferences import Channels, Kinds
from domain.contracts.payments import Failure
from domain.errors import DecisionCode
from domain.events import (
    AnyEvent,
    TransactionCompletedEvent,
    TransactionEvent,
    TransactionFailedEvent,
    TransactionReturnedEvent,
    WalletClosedEvent,
    WalletFrozenEvent,
    WalletLimitedEvent,
    WalletUnfrozenEvent,
)
from domain.ids import ClientId, TransactionId, UserId, WalletId
from domain.notifications import ChannelName, NotificationKind
from domain.transactions import TransactionKind, TransactionStatus
from events.notification_texts import REASONS, amount_text, notices_of
from events.notifications import TYPES, Notifications
from infra.telemetry import REGISTRY
from tests.events.outbox_rows import transaction_event

SENDER, RECEIVER = WalletId.new(1), WalletId.new(2)
DEPOSIT, WITHDRAWAL, TRANSFER = TransactionKind.DEPOSIT, TransactionKind.WITHDRAWAL, TransactionKind.TRANSFER
WALLET = {
    "wallet_id": SENDER,
    "user_id": UserId.new(1),
    "client_id": ClientId.new(0),
    "currency": "USD",
    "status": "active",
    "debits_frozen": False,
    "credits_frozen": False,
    "limit_per_transaction": None,
    "limit_daily": None,
    "timestamp": datetime(2026, 3, 2, 15, 4, tzinfo=UTC),
}


def payment(
    model: type[TransactionEvent], kind: TransactionKind, *, failure: Failure | None = None, memo: str | None = None
) -> AnyEvent:
    """1,234.56 USD."""
    return model(  # type: ignore[return-value]
        tx_id=TransactionId.new(1),
        client_id=ClientId.new(0),
        kind=kind,
        status=TransactionStatus.SUCCEEDED,
        sender_id=None if kind is DEPOSIT else SENDER,
        receiver_id=None if kind is WITHDRAWAL else RECEIVER,
        bank_account_id=None,
        amount=123_456,
        currency="USD",
        memo=memo,
        timestamp=datetime(2026, 3, 2, 15, 4, tzinfo=UTC),
        failure=failure,
    )


@pytest.mark.parametrize(
    ("minor_units", "currency", "wanted"),
    [
        (5, "USD", "0.05 USD"),
        (100, "USD", "1.00 USD"),
        (123_456_789, "USD", "1,234,567.89 USD"),
        (10**12, "USD", "10,000,000,000.00 USD"),
        (500, "JPY", "500 JPY"),
        (1_234_567, "JPY", "1,234,567 JPY"),
        (1_234_567, "KWD", "1,234.567 KWD"),
    ],
)
def test_amounts_have_their_currencys_decimal_places(minor_units: int, currency: str, wanted: str) -> None:
    assert amount_text(minor_units, currency) == wanted


@pytest.mark.parametrize(
    ("model", "kind", "wanted"),
    [
        (
            TransactionCompletedEvent,
            TRANSFER,
            [
                (NotificationKind.PAYMENT_SENT, SENDER, "You paid 1,234.56 USD"),
                (NotificationKind.PAYMENT_RECEIVED, RECEIVER, "You received 1,234.56 USD"),
            ],
        ),
        (
            TransactionCompletedEvent,
            DEPOSIT,
            [(NotificationKind.DEPOSIT_COMPLETED, RECEIVER, "1,234.56 USD came in from your bank account")],
        ),
        (
            TransactionCompletedEvent,
            WITHDRAWAL,
            [(NotificationKind.WITHDRAWAL_COMPLETED, SENDER, "1,234.56 USD went out to your bank account")],
        ),
        (
            TransactionFailedEvent,
            TRANSFER,
            [(NotificationKind.PAYMENT_FAILED, SENDER, "Your payment of 1,234.56 USD was not made")],
        ),
        (
            TransactionFailedEvent,
            DEPOSIT,
            [(NotificationKind.PAYMENT_FAILED, RECEIVER, "Your deposit of 1,234.56 USD was not made")],
        ),
        (
            TransactionReturnedEvent,
            DEPOSIT,
            [(NotificationKind.PAYMENT_RETURNED, RECEIVER, "Your bank returned your deposit of 1,234.56 USD")],
        ),
        (
            TransactionReturnedEvent,
            WITHDRAWAL,
            [(NotificationKind.PAYMENT_RETURNED, SENDER, "Your bank returned your withdrawal of 1,234.56 USD")],
        ),
    ],
)
def test_a_payment_is_told_to_whom_it_concerns(
    model: type[TransactionEvent],
    kind: TransactionKind,
    wanted: list[tuple[NotificationKind, WalletId, str]],
) -> None:
    notices = notices_of(payment(model, kind))
    assert [(notice.kind, notice.wallet_id, notice.subject) for notice in notices] == wanted


def test_a_text_says_everything_and_nothing_of_the_other_side() -> None:
    event = payment(TransactionCompletedEvent, TRANSFER, memo="lunch")
    assert isinstance(event, TransactionEvent)
    _, received = notices_of(event)
    assert received.body_for("Bob") == (
        f"Hello Bob,\n\nYou received 1,234.56 USD.\n\nMemo: lunch\nPayment: {event.tx_id}\nTime: 2026-03-02 15:04 UTC\n"
    )


def test_a_failure_is_told_in_our_words_never_in_those_of_a_bank() -> None:
    failure = Failure(code="bank_refused", detail="R29 ACME Corp, account 1234567")
    (notice,) = notices_of(payment(TransactionFailedEvent, WITHDRAWAL, failure=failure))
    assert "Your bank refused it." in notice.text
    assert "ACME" not in notice.text
    (notice,) = notices_of(payment(TransactionFailedEvent, WITHDRAWAL, failure=Failure(code="new", detail="x")))
    assert notice.text.startswith("Your withdrawal of 1,234.56 USD was not made.\n\nPayment:")


def test_every_reason_to_fail_has_words() -> None:
    assert set(REASONS) == set(DecisionCode)


def test_a_wallets_rules_are_told_to_its_owner() -> None:
    frozen = {"status": "frozen", "debits_frozen": True}
    texts = [
        notices_of(WalletFrozenEvent(**{**WALLET, **frozen})),
        notices_of(WalletUnfrozenEvent(**WALLET)),
        notices_of(WalletLimitedEvent(**{**WALLET, "limit_daily": 50_000})),
        notices_of(WalletClosedEvent(**{**WALLET, "status": "closed"})),
    ]
    assert [notice.text.partition("\n\n")[0] for (notice,) in texts] == [
        "Your wallet is frozen.\nNothing can be paid from it.",
        "Your wallet can be used again.",
        (
            "Your wallet has other limits.\nAs much as it holds may leave it in one payment.\n"
            "At most 500.00 USD may leave it on one day."
        ),
        "Your wallet is closed.\nIt is never opened again.",
    ]
    assert {(notice.kind, notice.wallet_id) for (notice,) in texts} == {(NotificationKind.WALLET_CHANGED, SENDER)}


def test_a_wallet_that_is_frozen_still_says_what_changed() -> None:
    """Limits that change meanwhile, and one side that is thawed."""
    half = {"status": "frozen", "credits_frozen": True}
    (limited,) = notices_of(WalletLimitedEvent(**{**WALLET, **half, "limit_daily": 50_000}))
    assert limited.subject == "Your wallet has other limits"
    (thawed,) = notices_of(WalletUnfrozenEvent(**{**WALLET, **half}))
    assert thawed.text.startswith("Your wallet can be used again in part.\nNothing can be paid into it.")


def test_what_is_on_its_way_is_told_to_nobody() -> None:
    assert notices_of(transaction_event(TransactionStatus.PROCESSING).event) == []  # type: ignore[arg-type]


def test_without_a_channel_no_event_is_wanted() -> None:
    assert Notifications([], 1).types == frozenset()


def test_the_consumer_wants_what_means_something() -> None:
    models = [TransactionCompletedEvent, TransactionFailedEvent, TransactionReturnedEvent]
    models += [WalletFrozenEvent, WalletUnfrozenEvent, WalletLimitedEvent, WalletClosedEvent]
    assert {model.model_fields["type"].default for model in models} == TYPES


def test_the_operators_page_names_every_kind_and_metric() -> None:
    page = (Path(__file__).parents[2] / "docs/operations/notifications.md").read_text()
    ours = [
        family.name + ("_total" if family.type == "counter" else "")
        for family in REGISTRY.collect()
        if family.name.startswith("sagapay_notifications_")
    ]
    assert len(ours) == 4
    assert [name for name in (*NotificationKind, *ours) if f"`{name}" not in page] == []


def test_preferences_name_every_kind_and_channel() -> None:
    assert list(Kinds.model_fields) == list(NotificationKind)
    assert list(Channels.model_fields) == list(ChannelName)
