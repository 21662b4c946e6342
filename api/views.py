"""Answers: what each resource looks like from outside, and how it is made from what the ledger and directory say."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from domain.bank_accounts import BankAccountStatus
from domain.contracts.payments import Attention, Failure, PaymentRequest, PaymentResult
from domain.ids import BankAccountId, EntryId, HoldId, TransactionId, UserId, WalletId
from domain.money import MAX_MINOR_UNITS
from domain.rails import Rail, RailChoice
from domain.transactions import Step, TransactionKind, TransactionStatus
from events.history import HistoryItem
from ledger.bank_accounts import BankAccount
from ledger.directory import User
from ledger.service import AccountStatus, Entry, TimelineItem, Transaction, Wallet

MinorUnits = Annotated[int, Field(description="Minor units (cents for USD).")]


class View(BaseModel):
    """What all answers share. Fields without a value are left out, not null."""

    model_config = ConfigDict(frozen=True)


class FailureView(View):
    """Why a payment failed. The codes are listed in docs/reference/errors.md."""

    code: str = Field(examples=["insufficient_funds"])
    detail: str


class AttentionView(View):
    """A payment cannot go on by itself: at which step, why, since when."""

    step: str
    reason: str
    since: datetime
    detail: str


class TransactionView(View):
    """A payment as it is now."""

    transaction_id: TransactionId
    kind: TransactionKind
    status: TransactionStatus
    amount: int = Field(ge=1, le=MAX_MINOR_UNITS, description="Minor units (cents for USD).")
    currency: str
    sender_id: WalletId | None = Field(default=None, description="Of a transfer.")
    receiver_id: WalletId | None = Field(default=None, description="Of a transfer.")
    wallet_id: WalletId | None = Field(default=None, description="Of a deposit or withdrawal.")
    bank_account_id: BankAccountId | None = Field(default=None, description="Of a deposit or withdrawal.")
    rail: RailChoice | None = Field(
        default=None, description="Of a deposit or withdrawal: its only rail, or auto where another may still carry it."
    )
    hold_id: HoldId | None = Field(default=None, description="Of a transfer that captures a hold.")
    memo: str | None = None
    failure: FailureView | None = Field(default=None, description="Where the status is failed.")
    attention: AttentionView | None = Field(default=None, description="Where the payment needs a person.")
    effective_at: datetime = Field(description="Business time at which it was asked for.")


class TimelineView(View):
    """One thing that happened to a payment."""

    type: str = Field(examples=["step.posted"])
    step: str | None = Field(default=None, examples=["settle_transfer"])
    detail: dict[str, str]
    effective_at: datetime
    created_at: datetime


class DeferredView(View):
    """What of a deposit is not available yet, minor units, and from when it is, once the deposit has settled."""

    amount: MinorUnits
    available_at: datetime


class TransactionDetail(TransactionView):
    """A payment as it is now, and how it came to be so."""

    created_at: datetime
    completed_at: datetime | None = None
    deferred: DeferredView | None = None
    timeline: list[TimelineView]


class BalanceView(View):
    """Minor units. `available` is what can be spent: posted less held."""

    posted: MinorUnits
    held: MinorUnits
    available: MinorUnits


class FrozenView(View):
    """The sides that no new payment may touch."""

    debits: bool
    credits: bool


class LimitsView(View):
    """What may leave a wallet in one payment and on one day in New York; a limit that is left out is none."""

    per_transaction: MinorUnits | None = None
    daily: MinorUnits | None = None
    spent: MinorUnits = Field(description="What left on the day `spent_on`, or was held to leave.")
    spent_on: date | None = None


class WalletView(View):
    """A wallet and its balance. `version` counts its entries."""

    wallet_id: WalletId
    user_id: UserId
    currency: str
    status: AccountStatus
    frozen: FrozenView
    limits: LimitsView
    balance: BalanceView
    owed: MinorUnits = Field(
        description="What returned deposits took back and the wallet did not have: what comes pays this first, "
        "and until it is paid nothing leaves."
    )
    version: int


class EntryView(View):
    """One line of a statement."""

    entry_id: EntryId
    transaction_id: TransactionId
    type: str = Field(description="DEBIT takes from the wallet, CREDIT adds to it.", examples=["CREDIT"])
    amount: MinorUnits
    currency: str
    balance_after: MinorUnits
    version: int
    created_at: datetime


class EntriesView(View):
    """A page of a statement, newest first; no `next_cursor` on the last."""

    entries: list[EntryView]
    next_cursor: str | None = None


class HistoryView(View):
    """A payment as one wallet sees it."""

    transaction_id: TransactionId
    direction: str = Field(examples=["out"])
    kind: TransactionKind
    status: TransactionStatus
    amount: MinorUnits
    currency: str
    counterparty_id: WalletId | None = None
    bank_account_id: BankAccountId | None = None
    memo: str | None = None
    failure_code: str | None = None
    occurred_at: datetime


class TransactionsView(View):
    """A page of a history, newest first; no `next_cursor` on the last."""

    transactions: list[HistoryView]
    next_cursor: str | None = None


class UserView(View):
    """A user and their home wallet."""

    user_id: UserId
    wallet_id: WalletId
    currency: str
    name: str
    email: str
    handle: str | None = None
    created_at: datetime


class BankLinkView(View):
    """What the app needs to send a user to their bank."""

    link_token: str
    bank: str


class BankAccountView(View):
    """A linked account; only the end of its number is shown."""

    bank_account_id: BankAccountId
    user_id: UserId
    bank: str
    holder_name: str
    mask: str
    status: BankAccountStatus
    status_since: datetime
    created_at: datetime


def _failure(failure: Failure | None) -> FailureView | None:
    return FailureView(code=failure.code, detail=failure.detail) if failure else None


def _attention(attention: Attention | None) -> AttentionView | None:
    if attention is None:
        return None
    return AttentionView(step=attention.step, reason=attention.reason, since=attention.since, detail=attention.detail)


def _sides(kind: TransactionKind, source: WalletId | None, destination: WalletId | None) -> dict[str, WalletId | None]:
    if kind is TransactionKind.TRANSFER:
        return {"sender_id": source, "receiver_id": destination}
    return {"wallet_id": source or destination}


def _rail(rails: Sequence[Rail]) -> RailChoice | None:
    match rails:
        case []:
            return None
        case [only]:
            return RailChoice(only)
        case _:
            return RailChoice.AUTO


def view_of_request(request: PaymentRequest, result: PaymentResult) -> TransactionView:
    """A payment that was recorded a moment ago, without asking the ledger again."""
    return TransactionView(
        transaction_id=result.transaction_id,
        kind=request.kind,
        status=result.status,
        amount=request.amount.minor_units,
        currency=request.amount.currency,
        bank_account_id=request.bank_account_id,
        rail=_rail(request.rail_plan),
        hold_id=request.hold_id,
        memo=request.memo,
        failure=_failure(result.failure),
        effective_at=request.effective_at,
        **_sides(request.kind, request.source_wallet_id, request.destination_wallet_id),
    )


def view_of_transaction(found: Transaction) -> TransactionView:
    """A payment as the ledger has it."""
    return TransactionView(
        transaction_id=found.transaction_id,
        kind=found.kind,
        status=found.status,
        amount=found.amount.minor_units,
        currency=found.amount.currency,
        bank_account_id=found.bank_account_id,
        rail=_rail(found.rails),
        hold_id=found.hold_id,
        memo=found.memo,
        failure=_failure(found.failure),
        attention=_attention(found.attention),
        effective_at=found.effective_at,
        **_sides(found.kind, found.source_wallet_id, found.destination_wallet_id),
    )


def detail_of_transaction(found: Transaction, timeline: Sequence[TimelineItem]) -> TransactionDetail:
    """A payment as the ledger has it, with its timeline."""
    items = [
        TimelineView(
            type=item.type,
            step=item.step,
            detail=item.detail,
            effective_at=item.effective_at,
            created_at=item.created_at,
        )
        for item in timeline
    ]
    return TransactionDetail(
        **dict(view_of_transaction(found)),
        created_at=found.created_at,
        completed_at=found.completed_at,
        deferred=_deferred(timeline),
        timeline=items,
    )


def _deferred(timeline: Sequence[TimelineItem]) -> DeferredView | None:
    credit = next((item for item in timeline if "deferred" in item.detail), None)
    if credit is None or any(item.step in (Step.MATURE_DEPOSIT, Step.RETURN_DEPOSIT) for item in timeline):
        return None
    return DeferredView(
        amount=int(credit.detail["deferred"]), available_at=datetime.fromisoformat(credit.detail["available_at"])
    )


def view_of_wallet(found: Wallet) -> WalletView:
    """A wallet as the ledger has it."""
    return WalletView(
        wallet_id=found.wallet_id,
        user_id=found.user_id,
        currency=found.currency,
        status=found.status,
        frozen=FrozenView(debits=found.debits_frozen, credits=found.credits_frozen),
        limits=LimitsView(
            per_transaction=found.limits.per_transaction,
            daily=found.limits.daily,
            spent=found.spent,
            spent_on=found.spent_on,
        ),
        balance=BalanceView(posted=found.posted, held=found.held, available=found.available),
        owed=found.owed,
        version=found.version,
    )


def view_of_entry(found: Entry) -> EntryView:
    """A line of a statement as the ledger has it."""
    return EntryView(
        entry_id=found.entry_id,
        transaction_id=found.transaction_id,
        type=found.side,
        amount=found.amount,
        currency=found.currency,
        balance_after=found.balance_after,
        version=found.version,
        created_at=found.created_at,
    )


def view_of_history(found: HistoryItem) -> HistoryView:
    """A line of the history as the read model has it."""
    return HistoryView(
        transaction_id=found.transaction_id,
        direction=found.direction,
        kind=found.kind,
        status=found.status,
        amount=found.amount,
        currency=found.currency,
        counterparty_id=found.counterparty_id,
        bank_account_id=found.bank_account_id,
        memo=found.memo,
        failure_code=found.failure_code,
        occurred_at=found.occurred_at,
    )


def view_of_user(found: User) -> UserView:
    """A user as the directory has them."""
    return UserView(
        user_id=found.user_id,
        wallet_id=found.wallet_id,
        currency=found.currency,
        name=found.name,
        email=found.email,
        handle=found.handle,
        created_at=found.created_at,
    )


def view_of_bank_account(found: BankAccount) -> BankAccountView:
    """A bank account as the directory has it, without its token."""
    return BankAccountView(
        bank_account_id=found.bank_account_id,
        user_id=found.user_id,
        bank=found.bank,
        holder_name=found.holder_name,
        mask=found.mask,
        status=found.status,
        status_since=found.status_since,
        created_at=found.created_at,
    )
