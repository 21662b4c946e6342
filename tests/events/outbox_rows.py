"""Valid events put into an outbox by SQL, as the ledger's commit would put them there."""

from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex

import psycopg

from domain.contracts.payments import Failure
from domain.events import (
    ENTRIES_TOPIC,
    TRANSACTIONS_TOPIC,
    EntryPostedEvent,
    EventModel,
    TransactionCompletedEvent,
    TransactionFailedEvent,
    TransactionProcessingEvent,
    lane_of,
)
from domain.ids import (
    BankAccountId,
    ClientId,
    EntryId,
    EventId,
    PostingId,
    TransactionId,
    WalletId,
    random_bucket,
)
from domain.transactions import TransactionKind, TransactionStatus

MODELS = {
    TransactionStatus.PROCESSING: TransactionProcessingEvent,
    TransactionStatus.SUCCEEDED: TransactionCompletedEvent,
    TransactionStatus.FAILED: TransactionFailedEvent,
}
REFUSED = Failure(code="insufficient_funds", detail="The wallet has less than that available.")
CLIENT = ClientId.new(0)


@dataclass(frozen=True)
class Row:
    """A row for the outbox."""

    topic: str
    key: str
    event: EventModel

    @property
    def kind(self) -> str:
        return str(type(self.event).model_fields["type"].default)

    @property
    def lane(self) -> int:
        return lane_of(self.key)


def transaction_event(
    status: TransactionStatus = TransactionStatus.SUCCEEDED,
    *,
    tx_id: TransactionId | None = None,
    kind: TransactionKind = TransactionKind.TRANSFER,
    sender: WalletId | None = None,
    receiver: WalletId | None = None,
    amount: int = 1234,
    memo_bytes: int = 0,
) -> Row:
    """What happened to a transaction; wallets that the kind needs and nobody named are new ones."""
    tx_id = tx_id or TransactionId.new(random_bucket())
    if kind is not TransactionKind.DEPOSIT:
        sender = sender or WalletId.new(tx_id.bucket)
    if kind is not TransactionKind.WITHDRAWAL:
        receiver = receiver or WalletId.new(random_bucket())
    event = MODELS[status](
        tx_id=tx_id,
        client_id=CLIENT,
        kind=kind,
        status=status,
        sender_id=sender,
        receiver_id=receiver,
        bank_account_id=None if kind is TransactionKind.TRANSFER else BankAccountId.new(tx_id.bucket),
        amount=amount,
        currency="USD",
        memo=token_hex(memo_bytes // 2) if memo_bytes else "lunch",
        timestamp=datetime.now(UTC),
        failure=REFUSED if status is TransactionStatus.FAILED else None,
    )
    return Row(TRANSACTIONS_TOPIC, tx_id, event)


def entry_event(account: WalletId, version: int) -> Row:
    """A line on an account."""
    event = EntryPostedEvent(
        entry_id=EntryId.new(account.bucket),
        posting_id=PostingId.new(account.bucket),
        tx_id=TransactionId.new(account.bucket),
        account_id=account,
        side="CREDIT",
        amount=100,
        currency="USD",
        balance_after=100 * version,
        version=version,
        timestamp=datetime.now(UTC),
    )
    return Row(ENTRIES_TOPIC, account, event)


def insert(connection: psycopg.Connection, *rows: Row) -> None:
    """Write rows in the connection's transaction, in this order."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO ledger.outbox (lane, event_id, topic, key, type, data) VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (
                    row.lane,
                    EventId.new(random_bucket()).uuid,
                    row.topic,
                    row.key,
                    row.kind,
                    row.event.model_dump_json(),
                )
                for row in rows
            ],
        )
