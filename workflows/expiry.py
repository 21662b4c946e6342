"""The expiry of clients' holds, run by a schedule."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from domain.contracts.holds import EXPIRE_HOLDS, EXPIRE_HOLDS_WORKFLOW, ExpiryReport


@workflow.defn(name=EXPIRE_HOLDS_WORKFLOW)
class ExpireHoldsWorkflow:
    """Ends the holds whose time has come. The next run comes by the schedule, so this one does not try for ever."""

    @workflow.run
    async def run(self) -> ExpiryReport:
        """See the class."""
        report: ExpiryReport = await workflow.execute_activity(
            EXPIRE_HOLDS,
            result_type=ExpiryReport,
            start_to_close_timeout=timedelta(minutes=5),
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=3),
            summary="let go of holds whose time has come",
        )
        return report
