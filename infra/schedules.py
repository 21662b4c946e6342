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


def _expiry(settings: Settings) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            EXPIRE_HOLDS_WORKFLOW,
            id="expire-holds",
            task_queue=OPERATIONS_QUEUE,
            static_summary="let go of holds whose time has come",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=settings.expiry_interval_seconds))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(seconds=60)),
    )


def _watch(settings: Settings, banks: Sequence[str]) -> Schedule:
    every = timedelta(seconds=settings.returns_interval_seconds)
    return Schedule(
        action=ScheduleActionStartWorkflow(
            WATCH_RETURNS_WORKFLOW,
            WatchRequest(banks=list(banks)),
            id="watch-returns",
            task_queue=OPERATIONS_QUEUE,
            static_summary="look for what banks took back",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(seconds=60)),
    )


def _bank_events(settings: Settings) -> Schedule:
    every = timedelta(seconds=settings.bank_events_interval_seconds)
    return Schedule(
        action=ScheduleActionStartWorkflow(
            BANK_EVENTS_WORKFLOW,
            id=f"{BANK_EVENTS_WORKFLOW_ID}-left",
            task_queue=OPERATIONS_QUEUE,
            static_summary="act on what banks have sent and nobody has acted on",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(seconds=60)),
    )


async def ensure_schedules(client: Client, settings: Settings, banks: Sequence[str]) -> None:
    """Make all schedules, or bring them up to date with the settings."""
    await _ensure(client, SWEEP_SCHEDULE, _sweep(settings))
    await _ensure(client, EXPIRE_HOLDS_SCHEDULE, _expiry(settings))
    await _ensure(client, WATCH_RETURNS_SCHEDULE, _watch(settings, banks))
    await _ensure(client, BANK_EVENTS_SCHEDULE, _bank_events(settings))


async def _ensure(client: Client, name: str, wanted: Schedule) -> None:
    try:
        await client.create_schedule(name, wanted)
    except ScheduleAlreadyRunningError:

        def replace(_current: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(schedule=wanted)

        await client.get_schedule_handle(name).update(replace)
