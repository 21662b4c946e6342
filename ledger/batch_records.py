"""What a batch is and what the rows of its tables say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row

from domain.batches import BatchItemStatus, BatchMode, BatchStatus
from domain.contracts.batches import BatchCounts
from domain.contracts.payments import Failure, IdempotencyRecord, PaymentRequest, StepResult
from domain.errors import IdempotencyKeyReused
from domain.ids import BatchId, ClientId, TransactionId, WalletId
from domain.money import Money
from domain.transactions import TransactionKind

Found = Row[tuple[object, ...]]
"""A row of an answer, read by its columns' names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatchItem:
    """One transfer of a batch that is being accepted. `proposed_id` is its transaction's, if its key is unused."""

    receiver_id: WalletId
    amount: Money
    memo: str | None
    key: IdempotencyRecord
    workflow_id: str
    proposed_id: TransactionId


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A batch that is being accepted, with all its items in order."""

    batch_id: BatchId
    client_id: ClientId
    sender_id: WalletId
    currency: str
    mode: BatchMode
    effective_at: datetime
    items: Sequence[NewBatchItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as recorded. `failed_index` is the item because of which an atomic batch was not paid."""

    batch_id: BatchId
    client_id: ClientId
    sender_id: WalletId
    currency: str
    mode: BatchMode
    transfers: int
    status: BatchStatus
    counts: BatchCounts
    failed_index: int | None
    failure: Failure | None
    effective_at: datetime
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """One transfer of a batch as recorded; `transaction_id` once it has one."""

    index: int
    receiver_id: WalletId
    amount: Money
    memo: str | None
    status: BatchItemStatus
    transaction_id: TransactionId | None
    failure: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutcome:
    """What became of an item when it was begun."""

    index: int
    status: BatchItemStatus
    transaction_id: TransactionId | None
    failure: Failure | None


def counts_of(row: Found) -> BatchCounts:
    """The four counts."""
    return BatchCounts(pending=row.pending, processing=row.processing, succeeded=row.succeeded, failed=row.failed)


def batch_of(row: Found) -> Batch:
    """A batch with its counts."""
    return Batch(
        batch_id=BatchId.of(row.batch_id),
        client_id=ClientId.of(row.client_id),
        sender_id=WalletId.of(row.source_wallet_id),
        currency=row.currency,
        mode=BatchMode(row.mode),
        transfers=row.transfers,
        status=BatchStatus(row.status),
        counts=counts_of(row),
        failed_index=row.failed_index,
        failure=_failure_of(row),
        effective_at=row.effective_at,
        created_at=row.created_at,
        completed_at=row.completed_at,
    )


def item_of(row: Found) -> BatchItem:
    """An item with its batch's currency."""
    return BatchItem(
        index=row.item_index,
        receiver_id=WalletId.of(row.destination_wallet_id),
        amount=Money(row.amount, row.currency),
        memo=row.memo,
        status=BatchItemStatus(row.status),
        transaction_id=TransactionId.of(row.transaction_id) if row.transaction_id else None,
        failure=_failure_of(row),
    )


def payment_of(row: Found) -> PaymentRequest:
    """An item as the payment that it becomes: the same for every attempt."""
    return PaymentRequest(
        transaction_id=TransactionId.of(row.proposed_id),
        kind=TransactionKind.TRANSFER,
        client_id=ClientId.of(row.client_id),
        amount=Money(row.amount, row.currency),
        workflow_id=row.workflow_id,
        effective_at=row.effective_at,
        idempotency=IdempotencyRecord(key_digest=row.key_digest, fingerprint=row.fingerprint),
        source_wallet_id=WalletId.of(row.source_wallet_id),
        destination_wallet_id=WalletId.of(row.destination_wallet_id),
        memo=row.memo,
    )


def outcome_of(index: int, answer: StepResult | IdempotencyKeyReused) -> ItemOutcome:
    """What the ledger's answer means for an item."""
    if isinstance(answer, StepResult):
        return ItemOutcome(
            index=index,
            status=BatchItemStatus(answer.status),
            transaction_id=answer.transaction_id,
            failure=answer.failure,
        )
    reused = Failure(code=answer.code, detail=answer.detail)
    return ItemOutcome(index=index, status=BatchItemStatus.FAILED, transaction_id=None, failure=reused)


def _failure_of(row: Found) -> Failure | None:
    return Failure(code=row.failure_code, detail=row.failure_detail) if row.failure_code else None
