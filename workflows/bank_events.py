"""The inbox of what banks send, handled as soon as something is stored and, by a schedule, whatever was left."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from domain.contracts.bank_events import BANK_EVENTS_WORKFLOW, HANDLE_BANK_EVENTS, STORED_SIGNAL, BankEventsReport


@workflow.defn(name=BANK_EVENTS_WORKFLOW)
class BankEventsWorkflow:
    """Handles what is stored, and what is stored meanwhile. The schedule's next run makes good what this one leaves."""

    def __init__(self) -> None:
        self._more = False

    @workflow.signal(name=STORED_SIGNAL, description="An event of a bank was stored.")
    def stored(self) -> None:
        """Look once more."""
        self._more = True

    @workflow.run
    async def run(self) -> BankEventsReport:
        """See the class."""
        while True:
            self._more = False
            report: BankEventsReport = await workflow.execute_activity(
                HANDLE_BANK_EVENTS,
                result_type=BankEventsReport,
                start_to_close_timeout=timedelta(minutes=5),
                heartbeat_timeout=timedelta(seconds=30),
                retry_policy=RetryPolicy(maximum_attempts=3),
                summary="act on what banks have sent",
            )
            if not self._more:
                return report
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new()
