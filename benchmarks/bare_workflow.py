"""The peer's workflow: one local activity that does nothing."""

from datetime import timedelta

from temporalio import activity, workflow


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
        return await workflow.execute_local_activity(nothing, key, schedule_to_close_timeout=timedelta(seconds=3))
