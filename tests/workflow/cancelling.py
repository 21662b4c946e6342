"""Cancelling a workflow at each place where it waits: before and after every activity, and at every timer.

A workflow is watched once to learn its places. Then it runs again for each of them, and is held there until the
cancellation has reached Temporal.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, Interceptor, WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import CancelledError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput
from temporalio.worker import Interceptor as WorkerInterceptor

from domain.contracts.workflows import CANCEL_UPDATE
from tests.workflow.operators import COMMAND
from tests.workflow.scene import until

TIMER: Final = "timer"
MOST_OF_A_NAME: Final = 2
"""What is polled for is met again and again; its first occurrences stand for the others."""
_UPDATE_ON_ITS_WAY_SECONDS: Final = 0.2

Handle = WorkflowHandle[Any, Any]
Stop = Callable[[Handle], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Place:
    """Before or after the nth run of an activity, or while the nth timer runs."""

    name: str
    nth: int
    when: str

    def __str__(self) -> str:
        return f"{self.when} {self.name} {self.nth}"


@dataclass
class _Watched:
    places: list[Place] = field(default_factory=list)
    times: Counter[str] = field(default_factory=Counter)
    held_at: Place | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def at(self, place: Place) -> None:
        self.places.append(place)
        if place == self.held_at:
            self.reached.set()
            await self.go_on.wait()


class Gate(Interceptor, WorkerInterceptor):
    """Sees every activity of the workflows that are watched, and holds one of them where it is told to."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def watch(self, workflow_id: str, held_at: Place | None = None) -> _Watched:
        """Watch a workflow that is about to start."""
        watched = self._watched[workflow_id] = _Watched(held_at=held_at)
        return watched

    def of(self, workflow_id: str | None) -> _Watched | None:
        """What is watched of a workflow."""
        return self._watched.get(workflow_id or "")

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """See temporalio."""
        return _AtGate(next, self)


class _AtGate(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, gate: Gate) -> None:
        super().__init__(following)
        self._gate = gate

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        watched = self._gate.of(activity.info().workflow_id)
        if watched is None:
            return await super().execute_activity(input)
        name = activity.info().activity_type
        watched.times[name] += 1
        nth = watched.times[name]
        await watched.at(Place(name, nth, "before"))
        try:
            return await super().execute_activity(input)
        finally:
            await watched.at(Place(name, nth, "after"))


def gated(client: Client) -> tuple[Client, Gate]:
    """The same client, whose workers pass a gate."""
    gate, config = Gate(), client.config()
    config["interceptors"] = [*config["interceptors"], gate]
    return Client(**config), gate


async def places_of(gate: Gate, handle: Handle) -> list[Place]:
    """Where a workflow that was watched has waited."""
    watched = gate.of(handle.id)
    assert watched is not None
    found = [place for place in watched.places if place.nth <= MOST_OF_A_NAME]
    timers = min(await _timers(handle), MOST_OF_A_NAME)
    return [*found, *(Place(TIMER, nth, "during") for nth in range(1, timers + 1))]


async def stop_at(gate: Gate, place: Place, handle: Handle, stop: Stop) -> None:
    """Stop the workflow when it is at the place; one that ends or waits elsewhere is stopped there."""
    watched = gate.of(handle.id)
    assert watched is not None
    over = asyncio.create_task(ended(handle))
    there = asyncio.create_task(watched.reached.wait() if place.name != TIMER else _at_timer(handle, place.nth))
    try:
        await asyncio.wait({over, there}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        await stop(handle)
    finally:
        watched.go_on.set()
        for task in (over, there):
            task.cancel()


async def by_cancellation(handle: Handle) -> None:
    """As the UI's Cancel does. One that has ended hears nothing."""
    try:
        await handle.cancel()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


async def by_update(handle: Handle) -> None:
    """The update `cancel`, on its way when the workflow is let go on: done, or refused with its reason."""
    told = asyncio.create_task(handle.execute_update(CANCEL_UPDATE, COMMAND))
    told.add_done_callback(_read)
    await asyncio.wait({told}, timeout=_UPDATE_ON_ITS_WAY_SECONDS)


def _read(told: "asyncio.Task[Any]") -> None:
    if not told.cancelled() and (error := told.exception()) is not None:
        assert isinstance(error, WorkflowUpdateFailedError | RPCError), error


async def ended(handle: Handle) -> None:
    """Wait for the end, be it a result or a cancellation."""
    try:
        await handle.result()
    except WorkflowFailureError as error:
        if not isinstance(error.cause, CancelledError):
            raise


async def _timers(handle: Handle) -> int:
    history = await handle.fetch_history()
    return sum(event.event_type == EventType.EVENT_TYPE_TIMER_STARTED for event in history.events)


async def _at_timer(handle: Handle, nth: int) -> None:
    async def there() -> bool:
        return await _timers(handle) >= nth

    await until(f"timer {nth} runs", there)
