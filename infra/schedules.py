"""Temporal schedules: made once, kept equal to the settings."""

from collections.abc import Sequence
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
from domain.contracts.bank_events import BANK_EVENTS_SCHEDULE, BANK_EVENTS_WORKFLOW, BANK_EVENTS_WORKFLOW_ID
from domain.contracts.holds import EXPIRE_HOLDS_SCHEDULE, EXPIRE_HOLDS_WORKFLOW
from domain.contracts.payments import OPERATIONS_QUEUE
from domain.contracts.returns import WATCH_RETURNS_SCHEDULE, WATCH_RETURNS_WORKFLOW, WatchRequest
from domain.contracts.workflows import SWEEP_SCHEDULE, SWEEP_WORKFLOW
from infra.settings import Settings


async def ensure_schedules(client: Client, settings: Settings, banks: Sequence[str]) -> None:
    """Make all schedules, or bring them up to date with the settings."""
    schedules = {
        SWEEP_SCHEDULE: _every(
            settings.sweep_interval_seconds,
            SWEEP_WORKFLOW,
            SweepRequest(older_than_seconds=settings.sweep_after_seconds),
            workflow_id="sweep",
            summary="look for open transactions without a workflow",
        ),
        EXPIRE_HOLDS_SCHEDULE: _every(
            settings.expiry_interval_seconds,
            EXPIRE_HOLDS_WORKFLOW,
            workflow_id="expire-holds",
            summary="let go of holds whose time has come",
        ),
        WATCH_RETURNS_SCHEDULE: _every(
            settings.returns_interval_seconds,
            WATCH_RETURNS_WORKFLOW,
            WatchRequest(banks=list(banks)),
            workflow_id="watch-returns",
            summary="look for what banks took back",
        ),
        BANK_EVENTS_SCHEDULE: _every(
            settings.bank_events_interval_seconds,
            BANK_EVENTS_WORKFLOW,
            workflow_id=f"{BANK_EVENTS_WORKFLOW_ID}-left",
            summary="act on what banks have sent and nobody has acted on",
        ),
    }
    for name, schedule in schedules.items():
        await _ensure(client, name, schedule)


def _every(seconds: float, workflow: str, *arguments: object, workflow_id: str, summary: str) -> Schedule:
    """Run a workflow of the operations queue so often, never beside itself."""
    return Schedule(
        action=ScheduleActionStartWorkflow(
            workflow, args=arguments, id=workflow_id, task_queue=OPERATIONS_QUEUE, static_summary=summary
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=seconds))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(seconds=60)),
    )


async def _ensure(client: Client, name: str, wanted: Schedule) -> None:
    try:
        await client.create_schedule(name, wanted)
    except ScheduleAlreadyRunningError:

        def replace(_current: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(schedule=wanted)

        await client.get_schedule_handle(name).update(replace)
