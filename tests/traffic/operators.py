"""What an operator can do to a payment's workflow in Temporal's UI: find it, terminate it, reset it."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from infra.temporal import connect
from tests.stack.platform import Platform
from tests.traffic.patience import eventually

MEDDLE_PAUSE_SECONDS: Final = 0.3
_OPEN_PAYMENTS: Final = "ExecutionStatus = 'Running' AND TransactionKind IN ('deposit', 'withdrawal', 'transfer')"
# What an operator hears about a workflow that has ended, or has not begun, while he looked at it.
_TOO_LATE: Final = (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.FAILED_PRECONDITION)


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody with the UI's powers."""

    temporal: Client

    async def find(self, transaction_id: str) -> WorkflowExecution:
        """The latest run of a payment's workflow, by its search attribute. Raises AssertionError."""
        found: list[WorkflowExecution] = []

        async def is_there() -> bool:
            found[:] = [run async for run in self.temporal.list_workflows(f"TransactionId = '{transaction_id}'")]
            return bool(found)

        await eventually(f"a workflow of {transaction_id}", is_there)
        return found[0]

    async def until_another_runs(self, run: WorkflowExecution) -> None:
        """Wait until a run that is not this one is under way or through."""

        async def is_another() -> bool:
            return (await self.temporal.get_workflow_handle(run.id).describe()).run_id != run.run_id

        await eventually(f"another run of {run.id}", is_another)

    async def has_nothing_open(self) -> bool:
        """Whether no payment's workflow runs."""
        return not [run async for run in self.temporal.list_workflows(_OPEN_PAYMENTS)]

    async def last_failures(self, workflow_id: str) -> list[tuple[str, str]]:
        """What the UI shows of the activities that a workflow waits for: the last failure's code and message."""
        described = await self.temporal.get_workflow_handle(workflow_id).describe()
        failures = [activity.last_failure for activity in described.raw_description.pending_activities]
        return [(failure.application_failure_info.type, failure.message) for failure in failures if failure.message]

    async def terminate(self, run: WorkflowExecution) -> None:
        """End a run on the spot; it can do nothing any more."""
        await self.temporal.get_workflow_handle(run.id, run_id=run.run_id).terminate("an operator's mistake")

    async def reset(self, run: WorkflowExecution, event_id: int | None = None) -> None:
        """Begin again in a new run from a completed workflow task, the first one unless `event_id` names it."""
        await self.temporal.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=self.temporal.namespace,
                workflow_execution=Execution(workflow_id=run.id, run_id=run.run_id),
                reason="an operator's second try",
                workflow_task_finish_event_id=event_id or (await self.reset_points(run))[0],
                request_id=str(uuid4()),
            )
        )

    async def reset_points(self, run: WorkflowExecution) -> list[int]:
        """The events to which the UI offers to reset: the run's completed workflow tasks, oldest first."""
        history = await self.temporal.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        completed = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        return [event.event_id for event in history.events if event.event_type == completed]

    async def meddle(self, chance: random.Random, done: Counter[str]) -> None:
        """Terminate or reset open payments by chance until cancelled; `done` counts them. Raises RPCError."""
        while True:
            async for run in self.temporal.list_workflows(_OPEN_PAYMENTS):
                if chance.random() < 0.5:
                    await self._try(run, chance, done)
            await asyncio.sleep(MEDDLE_PAUSE_SECONDS)

    async def _try(self, run: WorkflowExecution, chance: random.Random, done: Counter[str]) -> None:
        try:
            if chance.random() < 0.5:
                await self.terminate(run)
                done["terminated"] += 1
            elif points := await self.reset_points(run):
                await self.reset(run, chance.choice(points))
                done["reset"] += 1
        except RPCError as error:
            if error.status not in _TOO_LATE:
                raise


async def operator_of(platform: Platform) -> Operator:
    """An operator of this platform."""
    return Operator(await connect(platform.settings))


@asynccontextmanager
async def meddling_with(platform: Platform, seed: int) -> AsyncIterator[Counter[str]]:
    """Meanwhile an operator terminates and resets payments by chance; what he cannot reach he leaves alone.

    Yields how many he has "terminated" and "reset" so far.
    """
    operator = await operator_of(platform)
    chance, done = random.Random(seed), Counter[str]()

    async def again_and_again() -> None:
        while True:
            try:
                await operator.meddle(chance, done)
            except RPCError:
                await asyncio.sleep(MEDDLE_PAUSE_SECONDS)

    meddling = asyncio.create_task(again_and_again())
    try:
        yield done
    finally:
        meddling.cancel()
        with suppress(asyncio.CancelledError):
            await meddling
