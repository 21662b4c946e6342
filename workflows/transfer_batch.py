"""A transfer batch: slice by slice, or all in one commit; then until the last transfer has ended."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from domain.batches import BatchMode
    from domain.contracts.batches import (
        CLOSE_BATCH,
        PAY_BATCH_ITEMS,
        SETTLE_BATCH,
        TRANSFER_BATCH_WORKFLOW,
        BatchCommand,
        BatchCounts,
        BatchRequest,
        BatchSlice,
    )
    from domain.contracts.payments import Attention
    from workflows.details import batch_details
    from workflows.parking import Parkable
    from workflows.payment import why

SLICE: Final = 1_000
"""Items an activity begins. Small enough that one which is lost repeats little, large enough to be few."""

_RETRIES: Final = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=15))
_ATTEMPT: Final = timedelta(minutes=5)
_HEARTBEAT: Final = timedelta(seconds=10)
"""A worker that was killed in the middle of a slice is noticed after this long."""
_SLOW_RETRY: Final = timedelta(minutes=5)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(milliseconds=500), timedelta(minutes=5)


@workflow.defn(name=TRANSFER_BATCH_WORKFLOW)
class TransferBatchWorkflow(Parkable):
    """Pays the transfers of one recorded batch.

    A run can end anywhere: the next one begins the items again that are not recorded, under the same keys.
    """

    @workflow.init
    def __init__(self, request: BatchRequest) -> None:
        super().__init__("batch", _SLOW_RETRY, request.attention)
        self._request = request
        self._next_index = request.next_index

    @workflow.run
    async def run(self, request: BatchRequest) -> BatchCounts:
        """See the class."""
        return await self.until_done(self._pay_all())

    def details(self, attention: Attention | None) -> str:
        """See Parkable."""
        return batch_details(self._request, attention, _SLOW_RETRY)

    async def _pay_all(self) -> BatchCounts:
        command = BatchCommand(batch_id=self._request.batch_id)
        if self._request.mode is BatchMode.ATOMIC:
            await self._take(SETTLE_BATCH, command, type(None), f"{self._request.transfers} transfers or none")
        else:
            await self._pay_slices()
        return await self._until_closed(command)

    async def _pay_slices(self) -> None:
        while self._next_index < self._request.transfers:
            end = min(self._next_index + SLICE, self._request.transfers)
            part = BatchSlice(batch_id=self._request.batch_id, first=self._next_index, end=end)
            await self._take(PAY_BATCH_ITEMS, part, type(None), f"transfers {part.first} to {part.end - 1}")
            self._next_index = end
            await self._start_over_if_long()

    async def _until_closed(self, command: BatchCommand) -> BatchCounts:
        """Wait for the transfers that go on in workflows of their own, asking ever more rarely."""
        pause = _FIRST_PAUSE
        while True:
            counts: BatchCounts = await self._take(CLOSE_BATCH, command, BatchCounts, "how its transfers have ended")
            if not counts.unfinished:
                return counts
            await workflow.sleep(pause, summary="until its transfers have ended")
            pause = min(pause * 2, _LONGEST_PAUSE)
            await self._start_over_if_long()

    async def _take(self, activity: str, argument: object, result_type: type, summary: str) -> Any:  # noqa: ANN401
        """Run an activity until it succeeds. While a server is down it retries by itself; what is never right parks."""
        while True:
            try:
                result = await workflow.execute_activity(
                    activity,
                    argument,
                    result_type=result_type,
                    start_to_close_timeout=_ATTEMPT,
                    heartbeat_timeout=_HEARTBEAT,
                    retry_policy=_RETRIES,
                    summary=summary,
                )
            except ActivityError as error:
                await self.park(activity, *why(error))
                await self._start_over_if_long()
            else:
                self.attend(None)
                return result

    async def _start_over_if_long(self) -> None:
        """Go on in a new run where the history has grown long."""
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            rest = replace(self._request, next_index=self._next_index, attention=self._attention)
            workflow.continue_as_new(rest)
