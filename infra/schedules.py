"""Temporal schedules: made once, kept equal to the settings."""

from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from domain.contracts.activities import SweepRequest
from domain.contracts.payments import OPERATIONS_QUEUE
from domain.contracts.workflows import SWEEP_SCHEDULE, SWEEP_WORKFLOW
from infra.settings import Settings


def _sweep(settings: Settings) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            SWEEP_WORKFLOW,
            SweepRequest(older_than_seconds=settings.sweep_after_seconds),
            id="sweep",
            task_queue=OPERATIONS_QUEUE,
            static_summary="look for open transactions without a workflow",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=settings.sweep_interval_seconds))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(seconds=60)),
    )


async def ensure_sweep_schedule(client: Client, settings: Settings) -> None:
    """Make the sweep's schedule, or bring it up to date with the settings."""
    wanted = _sweep(settings)
    try:
        await client.create_schedule(SWEEP_SCHEDULE, wanted)
    except ScheduleAlreadyRunningError:

        def replace(_current: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(schedule=wanted)

        await client.get_schedule_handle(SWEEP_SCHEDULE).update(replace)
