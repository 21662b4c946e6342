"""Webhooks that did not arrive at once: a workflow for each endpoint, which tries again until all have, for days."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from domain.contracts.webhooks import (
        DELIVER_DUE_WEBHOOKS,
        MORE_SIGNAL,
        WEBHOOK_RETRIES_WORKFLOW,
        WebhookReport,
        WebhookRetries,
    )


@workflow.defn(name=WEBHOOK_RETRIES_WORKFLOW)
class WebhookRetriesWorkflow:
    """Waits and has what is due tried again. When and how often is kept with each delivery, in the database."""

    def __init__(self) -> None:
        self._more = False

    @workflow.signal(name=MORE_SIGNAL, description="Something more waits, or waiting is over.")
    def more(self) -> None:
        """Look at once."""
        self._more = True

    @workflow.run
    async def run(self, retries: WebhookRetries) -> None:
        """See the class."""
        while True:
            self._more = False
            report: WebhookReport = await workflow.execute_activity(
                DELIVER_DUE_WEBHOOKS,
                retries,
                result_type=WebhookReport,
                start_to_close_timeout=timedelta(minutes=10),
                heartbeat_timeout=timedelta(minutes=1),
                retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=5)),
                summary="try again what is due",
            )
            if report.next_in_seconds is None and not self._more:
                return
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(retries)
            if report.next_in_seconds is not None:
                await self._wait(report, report.next_in_seconds)

    async def _wait(self, report: WebhookReport, seconds: float) -> None:
        workflow.set_current_details(f"{report.waiting} events wait; next attempt in {seconds:.0f} s.")
        try:
            await workflow.wait_condition(lambda: self._more, timeout=seconds, timeout_summary="until the next attempt")
        except TimeoutError:
            return
