"""Event models: what the platform tells. Written to the outbox in the commit of what happened, then published.

Topics and keys: `sagapay.transactions.v1` is keyed by transaction and promises no order between transactions;
`sagapay.entries.v1` is keyed by account and carries the account's version, without gaps; `sagapay.holds.v1` is keyed by
hold; `sagapay.wallets.v1` by wallet; `sagapay.dead-letters.v1` by consumer. A lane is a partition.
"""

from datetime import datetime
from typing import Final, Literal
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field

from domain.contracts.payments import Attention, Failure
from domain.holds import HoldStatus
from domain.ids import (
    AccountId,
    BankAccountId,
    ClientId,
    EntryId,
    EventId,
    HoldId,
    PostingId,
    TransactionId,
    UserId,
    WalletId,
)
from domain.transactions import TransactionKind, TransactionStatus

TRANSACTIONS_TOPIC: Final = "sagapay.transactions.v1"
ENTRIES_TOPIC: Final = "sagapay.entries.v1"
HOLDS_TOPIC: Final = "sagapay.holds.v1"
WALLETS_TOPIC: Final = "sagapay.wallets.v1"
DEAD_LETTERS_TOPIC: Final = "sagapay.dead-letters.v1"
LANES: Final = 4
ENVELOPE_VERSION: Final = 1
"""Of the whole message; within it nothing is removed, renamed or of another type."""


def lane_of(key: str) -> int:
    """The lane (and Kafka partition) of everything with this key: 0 to LANES - 1."""
    return crc32(key.encode()) % LANES


class EventModel(BaseModel):
    """What all events share: unknown fields are ignored when read, so that fields can be added."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class TransactionEvent(EventModel):
    """A transaction as it was at one moment. `sender_id` and `receiver_id` are wallets; None is a bank."""

    tx_id: TransactionId
    client_id: ClientId
    kind: TransactionKind
    status: TransactionStatus
    sender_id: WalletId | None
    receiver_id: WalletId | None
    bank_account_id: BankAccountId | None
    amount: int
    currency: str
    memo: str | None
    timestamp: datetime
    failure: Failure | None = None


class TransactionProcessingEvent(TransactionEvent):
    """A payment was accepted and goes on."""

    type: Literal["transaction.processing"] = "transaction.processing"


class TransactionCompletedEvent(TransactionEvent):
    """A payment succeeded; its money has moved."""

    type: Literal["transaction.completed"] = "transaction.completed"


class TransactionFailedEvent(TransactionEvent):
    """A payment failed; its money is where it was."""

    type: Literal["transaction.failed"] = "transaction.failed"


class TransactionReturnedEvent(TransactionEvent):
    """The bank took a settled payment back, all of it; `failure` has its code and words."""

    type: Literal["transaction.returned"] = "transaction.returned"


class TransactionAttentionRaisedEvent(TransactionEvent):
    """A payment cannot go on by itself, or the bank contradicts how it ended: a person has to look at it."""

    type: Literal["transaction.attention_raised"] = "transaction.attention_raised"
    attention: Attention


class TransactionAttentionClearedEvent(TransactionEvent):
    """A payment that needed a person goes on, or nothing is open about it any more. One that ends says only that."""

    type: Literal["transaction.attention_cleared"] = "transaction.attention_cleared"


class EntryPostedEvent(EventModel):
    """A line was written on an account; balances can be rebuilt from these alone."""

    type: Literal["entry.posted"] = "entry.posted"
    entry_id: EntryId
    posting_id: PostingId
    tx_id: TransactionId
    account_id: AccountId
    side: Literal["DEBIT", "CREDIT"]
    amount: int
    currency: str
    balance_after: int
    version: int
    timestamp: datetime


class HoldEvent(EventModel):
    """A client's hold as it was at one moment. `captured` is what all captures took; `tx_id` is this one's."""

    hold_id: HoldId
    client_id: ClientId
    wallet_id: WalletId
    status: HoldStatus
    amount: int
    captured: int
    currency: str
    memo: str | None
    expires_at: datetime
    timestamp: datetime
    tx_id: TransactionId | None = None
    failure: Failure | None = None


class HoldPlacedEvent(HoldEvent):
    """Money of a wallet is reserved."""

    type: Literal["hold.placed"] = "hold.placed"


class HoldFailedEvent(HoldEvent):
    """A hold was decided against; nothing was reserved."""

    type: Literal["hold.failed"] = "hold.failed"


class HoldCapturedEvent(HoldEvent):
    """A transfer took of the hold. While the status is active, more of it can be captured."""

    type: Literal["hold.captured"] = "hold.captured"


class HoldReleasedEvent(HoldEvent):
    """What remained was let go by the client."""

    type: Literal["hold.released"] = "hold.released"


class HoldExpiredEvent(HoldEvent):
    """What remained was let go because the hold's time was over."""

    type: Literal["hold.expired"] = "hold.expired"


class WalletEvent(EventModel):
    """A wallet's rules as they are from one moment on. Limits are minor units; None is none."""

    wallet_id: WalletId
    user_id: UserId
    client_id: ClientId
    currency: str
    status: Literal["active", "frozen", "closed"]
    debits_frozen: bool
    credits_frozen: bool
    limit_per_transaction: int | None
    limit_daily: int | None
    timestamp: datetime


class WalletOpenedEvent(WalletEvent):
    """A user's wallet can be used."""

    type: Literal["wallet.opened"] = "wallet.opened"


class WalletFrozenEvent(WalletEvent):
    """An operator has stopped a wallet's debits, its credits or both."""

    type: Literal["wallet.frozen"] = "wallet.frozen"


class WalletUnfrozenEvent(WalletEvent):
    """An operator has let a wallet's debits, its credits or both go on."""

    type: Literal["wallet.unfrozen"] = "wallet.unfrozen"


class WalletLimitedEvent(WalletEvent):
    """A wallet's limits are others."""

    type: Literal["wallet.limited"] = "wallet.limited"


class WalletClosedEvent(WalletEvent):
    """A wallet is closed, for ever."""

    type: Literal["wallet.closed"] = "wallet.closed"


class DeadLetteredEvent(EventModel):
    """A consumer could not process an event and went on behind it; `message` is the event as it came."""

    type: Literal["event.dead_lettered"] = "event.dead_lettered"
    consumer: str
    shard: int
    topic: str
    lane: int
    position: str
    event_type: str
    message: str
    reason: str
    timestamp: datetime


AnyEvent = (
    TransactionProcessingEvent
    | TransactionCompletedEvent
    | TransactionFailedEvent
    | TransactionReturnedEvent
    | TransactionAttentionRaisedEvent
    | TransactionAttentionClearedEvent
    | EntryPostedEvent
    | HoldPlacedEvent
    | HoldFailedEvent
    | HoldCapturedEvent
    | HoldReleasedEvent
    | HoldExpiredEvent
    | WalletOpenedEvent
    | WalletFrozenEvent
    | WalletUnfrozenEvent
    | WalletLimitedEvent
    | WalletClosedEvent
    | DeadLetteredEvent
)


class Envelope(EventModel):
    """What a Kafka message's value is: JSON of this. `data` is one of the models above, chosen by `type`."""

    id: EventId
    type: str
    version: int = ENVELOPE_VERSION
    time: datetime
    shard: int
    key: str
    position: str
    trace: str | None = Field(default=None, description="W3C traceparent of the request that brought it about.")
    data: AnyEvent = Field(discriminator="type")
