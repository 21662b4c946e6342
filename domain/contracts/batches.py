"""A transfer batch's workflow: it carries ids and positions, the transfers themselves are stored before it starts.

| workflow | id | queue | input → result |
|---|---|---|---|
| TransferBatchWorkflow | the batch's | batches | BatchRequest → BatchCounts |

| activity | input | result |
|---|---|---|
| pay_batch_items | BatchSlice | nothing |
| settle_batch (atomic) | BatchCommand | nothing |
| close_batch | BatchCommand | BatchCounts |
"""

from dataclasses import dataclass
from typing import Final

from domain.batches import BatchMode
from domain.contracts.payments import Attention
from domain.ids import BatchId

TRANSFER_BATCH_WORKFLOW: Final = "TransferBatchWorkflow"
BATCH_QUEUE: Final = "batches"

PAY_BATCH_ITEMS: Final = "pay_batch_items"
SETTLE_BATCH: Final = "settle_batch"
CLOSE_BATCH: Final = "close_batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """A recorded batch of `transfers` items. Those before `next_index` were begun by an earlier run."""

    batch_id: BatchId
    mode: BatchMode
    transfers: int
    next_index: int = 0
    attention: Attention | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSlice:
    """The items of a batch from `first` up to, but not with, `end`."""

    batch_id: BatchId
    first: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCommand:
    """A batch as a whole."""

    batch_id: BatchId


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    """How many of a batch's transfers stand where."""

    pending: int = 0
    processing: int = 0
    succeeded: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.unfinished + self.finished

    @property
    def unfinished(self) -> int:
        """Those that are yet to end."""
        return self.pending + self.processing

    @property
    def finished(self) -> int:
        """Those that have ended, well or not."""
        return self.succeeded + self.failed
