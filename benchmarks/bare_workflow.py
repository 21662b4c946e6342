"""The peers' workflows: as many activities as ours, which do nothing."""

from datetime import timedelta
from typing import Final

from temporalio import activity, workflow

BANK_QUEUE: Final = "bare-bank"
_AT_ONCE: Final = timedelta(seconds=3)


@activity.defn
async def nothing(key: str) -> str:
    """Give it back."""
    return key


@workflow.defn
class BareWorkflow:
    """The least that a request carried by a workflow can be."""

    @workflow.run
    async def run(self, key: str) -> str:
        """See the class."""
        return await workflow.execute_local_activity(nothing, key, schedule_to_close_timeout=_AT_ONCE)


@workflow.defn
class BareSagaWorkflow:
    """The least that a payment with a bank can be: recorded, asked for, captured, settled."""

    @workflow.run
    async def run(self, key: str) -> str:
        """See the class."""
        await self._recorded(key)
        await workflow.execute_activity(
            nothing, key, task_queue=BANK_QUEUE, schedule_to_close_timeout=timedelta(seconds=30)
        )
        await self._recorded(key)
        return await self._recorded(key)

    async def _recorded(self, key: str) -> str:
        return await workflow.execute_local_activity(nothing, key, schedule_to_close_timeout=_AT_ONCE)
