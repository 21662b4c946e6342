"""Batch activities: a slice of a batch's transfers, many at once, or all of an atomic batch's in one commit.

Each may be repeated at any point: an item's key and proposed id are stored, so what was begun before is found again.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError

from activities.failures import as_failures
from activities.heartbeats import heartbeats
from domain.contracts.batches import (
    CLOSE_BATCH,
    PAY_BATCH_ITEMS,
    SETTLE_BATCH,
    BatchCommand,
    BatchCounts,
    BatchSlice,
)
from domain.contracts.payments import PaymentRequest, RetryPlan, StepCommand, StepResult
from domain.errors import IdempotencyKeyReused, SagapayError, Unavailable, WorkflowsUnavailable
from domain.ids import BatchId
from domain.transactions import Step, StepDecision
from infra.payments import start_payment
from ledger.batch_records import ItemOutcome, outcome_of
from ledger.batches import Batches
from ledger.service import LedgerService

IN_FLIGHT: Final = 128
"""Transfers of a slice that are with the ledger at once: what meets there is written in few commits, each of them short
enough for single payments, which wait for the one before. Twice as many pay hardly faster."""
RECORDED_TOGETHER: Final = 250

Item = tuple[int, PaymentRequest]


@dataclass
class _Progress:
    """How far a slice is, and what went wrong on the way. After an outage no further item is begun."""

    index: int
    outage: SagapayError | None = None
    rejections: list[SagapayError] = field(default_factory=list)


class BatchActivities:
    """Needs the ledger to pay, the batches to know what, and Temporal's client for transfers that take longer."""

    def __init__(self, ledger: LedgerService, batches: Batches, client: Client, plan: RetryPlan) -> None:
        self._ledger = ledger
        self._batches = batches
        self._client = client
        self._plan = plan

    @activity.defn(name=PAY_BATCH_ITEMS)
    async def pay_batch_items(self, part: BatchSlice) -> None:
        """Begin every item of the slice that is not begun, and record what became of it.

        Retryable: ledger_unavailable, workflows_unavailable. What the ledger calls never right is raised at the end.
        """
        progress = _Progress(part.first)
        with as_failures():
            async with heartbeats(lambda: progress.index):
                items = await self._batches.pending(part.batch_id, first=part.first, end=part.end)
                await self._pay(part.batch_id, items, progress)
            for trouble in (progress.outage, *progress.rejections):
                if trouble is not None:
                    raise trouble

    @activity.defn(name=SETTLE_BATCH)
    async def settle_batch(self, command: BatchCommand) -> None:
        """Pay all transfers of an atomic batch in one commit, or none and record why."""
        with as_failures():
            async with heartbeats():
                await self._ledger.settle_batch(command.batch_id)

    @activity.defn(name=CLOSE_BATCH)
    async def close_batch(self, command: BatchCommand) -> BatchCounts:
        """Learn how the transfers under way have ended; with the last one the batch is completed."""
        with as_failures():
            async with heartbeats():
                return await self._batches.close(command.batch_id)

    def all(self) -> Sequence[Callable[..., Any]]:
        """What a worker of the batch queue needs."""
        return [self.pay_batch_items, self.settle_batch, self.close_batch]

    async def _pay(self, batch_id: BatchId, items: Sequence[Item], progress: _Progress) -> None:
        waiting, outcomes = iter(items), list[ItemOutcome]()

        async def record() -> None:
            found, outcomes[:] = outcomes[:], []
            await self._batches.record(batch_id, found)
            progress.index = found[-1].index

        async def pay_in_turn() -> None:
            for item in waiting:
                outcome = await self._begin(item, progress)
                if outcome is not None:
                    outcomes.append(outcome)
                if len(outcomes) >= RECORDED_TOGETHER:
                    await record()

        places = [asyncio.create_task(pay_in_turn()) for _ in range(min(IN_FLIGHT, len(items)))]
        try:
            await asyncio.gather(*places)
        finally:
            for place in places:
                place.cancel()
        if outcomes:
            await record()

    async def _begin(self, item: Item, progress: _Progress) -> ItemOutcome | None:
        """What became of an item, None where that is not known yet."""
        if progress.outage is not None:
            return None
        index, payment = item
        try:
            return await self._outcome(index, payment)
        except IdempotencyKeyReused as error:
            return outcome_of(index, error)
        except SagapayError as error:
            if error.retryable:
                progress.outage = error
            else:
                progress.rejections.append(error)
            return None

    async def _outcome(self, index: int, payment: PaymentRequest) -> ItemOutcome:
        result = await self._ledger.begin(payment, Step.SETTLE_TRANSFER)
        if not result.status.final:
            sent = replace(payment, transaction_id=result.transaction_id, plan=self._plan)
            result = await self._across_shards(sent) or result
        return outcome_of(index, result)

    async def _across_shards(self, sent: PaymentRequest) -> StepResult | None:
        """How a transfer to another shard has ended, or None: it goes on in the workflow that it would have had alone.

        The steps are those of that workflow; whoever takes one first, the other gets its outcome.
        """
        try:
            received = await self._ledger.receive_transfer(sent)
            posted = received.decision is StepDecision.POSTED
            last = Step.COMPLETE_TRANSFER if posted else Step.REVERSE_TRANSFER
            command = StepCommand(transaction_id=sent.transaction_id, step=last, failure=received.failure)
            return await self._ledger.take_step(command)
        except Unavailable:
            await self._hand_over(sent)
            return None

    async def _hand_over(self, payment: PaymentRequest) -> None:
        try:
            await start_payment(self._client, payment, "of a batch")
        except (RPCError, RuntimeError) as error:
            raise WorkflowsUnavailable from error
