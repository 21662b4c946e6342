"""Answers about batches: what they look like from outside."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from api.views import FailureView, MinorUnits, View
from domain.batches import BatchItemStatus, BatchMode, BatchStatus
from domain.contracts.payments import Failure
from domain.ids import BatchId, TransactionId, WalletId
from ledger.batch_records import Batch, BatchItem


class BatchCountsView(View):
    """How many of a batch's transfers stand where."""

    total: int
    pending: int = Field(description="Not begun.")
    processing: int = Field(description="Begun, and going on.")
    succeeded: int
    failed: int


class BatchFailureView(FailureView):
    """Why an atomic batch was not paid, and because of which transfer."""

    index: int = Field(description="Of the transfer that was decided against.")


class TransferBatchView(View):
    """A batch as it is now. `completed`: each transfer has its end; `failed`: an atomic batch, and nothing was paid."""

    batch_id: BatchId
    status: BatchStatus
    mode: BatchMode
    sender_id: WalletId
    currency: str
    counts: BatchCountsView
    progress: int = Field(ge=0, le=100, description="Transfers that have ended, in per cent.")
    failure: BatchFailureView | None = Field(default=None, description="Where the status is failed.")
    effective_at: datetime = Field(description="Business time at which it was asked for.")
    created_at: datetime
    completed_at: datetime | None = None


class BatchItemView(View):
    """One transfer of a batch."""

    index: int = Field(description="Its place in the request, from 0.")
    status: BatchItemStatus
    transaction_id: TransactionId | None = Field(default=None, description="Once it is begun.")
    receiver_id: WalletId
    amount: MinorUnits
    memo: str | None = None
    failure: FailureView | None = Field(default=None, description="Where the status is failed.")


class BatchItemsView(View):
    """A page of a batch's transfers in their order; no `next_cursor` on the last."""

    items: list[BatchItemView]
    next_cursor: str | None = None


def view_of_batch(found: Batch) -> TransferBatchView:
    """A batch as it is recorded."""
    counts = found.counts
    failure = None
    if found.failure is not None and found.failed_index is not None:
        failure = BatchFailureView(code=found.failure.code, detail=found.failure.detail, index=found.failed_index)
    return TransferBatchView(
        batch_id=found.batch_id,
        status=found.status,
        mode=found.mode,
        sender_id=found.sender_id,
        currency=found.currency,
        counts=BatchCountsView(
            total=found.transfers,
            pending=counts.pending,
            processing=counts.processing,
            succeeded=counts.succeeded,
            failed=counts.failed,
        ),
        progress=100 * counts.finished // found.transfers,
        failure=failure,
        effective_at=found.effective_at,
        created_at=found.created_at,
        completed_at=found.completed_at,
    )


def view_of_items(found: Sequence[BatchItem], next_cursor: str | None) -> BatchItemsView:
    """A page of items as they are recorded."""
    return BatchItemsView(items=[_view_of_item(item) for item in found], next_cursor=next_cursor)


def _view_of_item(found: BatchItem) -> BatchItemView:
    return BatchItemView(
        index=found.index,
        status=found.status,
        transaction_id=found.transaction_id,
        receiver_id=found.receiver_id,
        amount=found.amount.minor_units,
        memo=found.memo,
        failure=_failure(found.failure),
    )


def _failure(failure: Failure | None) -> FailureView | None:
    return FailureView(code=failure.code, detail=failure.detail) if failure else None
