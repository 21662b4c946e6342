"""The sweep, run by a schedule: finds open transactions without a running workflow."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from domain.contracts.activities import SWEEP_ORPHANS, SweepReport, SweepRequest
    from domain.contracts.workflows import SWEEP_WORKFLOW


@workflow.defn(name=SWEEP_WORKFLOW)
class SweepWorkflow:
    """One sweep. The next one comes by the schedule, so this one does not try for ever."""

    @workflow.run
    async def run(self, request: SweepRequest) -> SweepReport:
        """See the class."""
        report: SweepReport = await workflow.execute_activity(
            SWEEP_ORPHANS,
            request,
            result_type=SweepReport,
            start_to_close_timeout=timedelta(minutes=5),
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=3),
            summary="look for open transactions without a workflow",
        )
        return report
