"""Parking for workflows that are no payment: shown with the reason, tried again by itself or when somebody says so."""

import asyncio
from abc import abstractmethod
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.contracts.payments import Attention
    from domain.contracts.workflows import CANNOT_RETRY, RETRY_UPDATE, OperatorCommand
    from workflows import attributes
    from workflows.operators import demand_name, refused

Result = TypeVar("Result")


class Parkable:
    """A workflow that waits for a person or for the next try. `noun` is what its messages call it."""

    def __init__(self, noun: str, slow_retry: timedelta, attention: Attention | None = None) -> None:
        self._noun = noun
        self._slow_retry = slow_retry
        self._attention = attention
        self._woken = False

    @workflow.update(name=RETRY_UPDATE, description="Parked? Try the step again now. {by, reason}")
    async def retry(self, command: OperatorCommand) -> str:
        """Wake what is parked."""
        self.wake()
        workflow.logger.info("retry requested", extra={"by": command.by, "reason": command.reason})
        return "trying again"

    @retry.validator
    def _may_retry(self, command: OperatorCommand) -> None:
        if self._attention is None:
            raise refused(CANNOT_RETRY, f"The {self._noun} is not parked; it is trying by itself.")
        demand_name(command, CANNOT_RETRY)

    def wake(self) -> None:
        """Go on now, if it is parked."""
        self._woken = True

    @abstractmethod
    def details(self, attention: Attention | None) -> str:
        """What operators read at the top of it."""

    async def until_done(self, work: Coroutine[object, object, Result]) -> Result:
        """Run the work to its end. A cancellation from outside is no way to stop: part of it may be booked already."""
        running = asyncio.create_task(work)
        while True:
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                if running.cancelled():
                    raise

    async def park(self, step: str, reason: str, detail: str) -> None:
        """Say what is wrong, then wait for `retry`, or until it is time to try again."""
        since = self._attention.since if self._attention else workflow.now()
        self.attend(Attention(step=step, reason=reason, since=since, detail=detail))
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._woken, timeout=self._slow_retry, timeout_summary="next try by itself"
            )
        self._woken = False

    def attend(self, attention: Attention | None) -> None:
        """Be findable by what is wrong, or no longer."""
        if attention is None and self._attention is None:
            return
        self._attention = attention
        workflow.set_current_details(self.details(attention))
        workflow.upsert_search_attributes(attributes.attention_updates(attention))
