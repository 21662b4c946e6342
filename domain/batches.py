"""Transfer batches: many transfers from one wallet, asked for under one key. Each becomes a transaction of its own."""

from enum import StrEnum
from typing import Final

MAX_TRANSFERS: Final = 10_000


class BatchMode(StrEnum):
    """Each transfer for itself, or all of them in one database transaction or none."""

    INDEPENDENT = "independent"
    ATOMIC = "atomic"


class BatchStatus(StrEnum):
    """Where a batch stands. COMPLETED: each transfer has its end; FAILED: an atomic batch of which nothing was paid."""

    ACCEPTED = "accepted"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in (BatchStatus.COMPLETED, BatchStatus.FAILED)


class BatchItemStatus(StrEnum):
    """Where one transfer of a batch stands. PENDING: not begun; the others are the status of its transaction."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
