"""What all payments share: the reply as soon as the first step is recorded, ledger steps, parking, cancellation."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError
from temporalio.exceptions import TimeoutError as TimedOut

with workflow.unsafe.imports_passed_through():
    from domain.contracts.activities import NOTE_ATTENTION
    from domain.contracts.payments import (
        Attention,
        AttentionNote,
        CarriedOver,
        Failure,
        PaymentRequest,
        PaymentResult,
        ReceiveCommand,
        StepCommand,
        StepResult,
    )
    from domain.contracts.workflows import ACCEPTED_UPDATE
    from domain.errors import DecisionCode
    from domain.rails import Rail
    from domain.transactions import Step, TransactionStatus
    from workflows import attributes
    from workflows.details import parked_details
    from workflows.operators import ATTEMPT, LEDGER_RETRIES, Operated

LOCAL_PATIENCE: Final = timedelta(seconds=3)
"""A ledger write that has not gone through by then goes on as a regular activity, where operators see it."""

TIMED_OUT: Final = "timed_out"
"""Attention's reason where no attempt has come back at all, e.g. because no worker serves the bank."""

# 50 ms, doubled up to a second: together a little less than the patience. The number is needed besides the time,
# because the SDK's core (1.35) forgets a local activity's schedule-to-close while it waits between two attempts.
_LOCAL_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=50), maximum_interval=timedelta(seconds=1), maximum_attempts=7
)
_CANCELLED: Final = Failure(code=DecisionCode.CANCELLED, detail="Cancelled before the receiver's shard had it.")


def cause_of(error: FailureError) -> BaseException:
    """What went wrong in an activity.

    A local activity's time-out comes wrapped in an ActivityError when it happens, and bare when the history is
    replayed (SDK 1.35), so both are taken for the same.
    """
    return error.cause if isinstance(error, ActivityError) and error.cause else error


def is_final(error: FailureError) -> bool:
    """Whether trying the same again cannot help."""
    cause = cause_of(error)
    return isinstance(cause, ApplicationError) and cause.non_retryable


class Payment(Operated):
    """Base of the payment workflows. One instance is one run; all that matters is in the ledger and at the bank.

    A run can end anywhere (terminated, reset, continued as new): the next one takes the same steps under the same
    keys and gets the recorded outcomes back.
    """

    def __init__(self, request: PaymentRequest) -> None:
        self.request = request
        self.first: StepResult | None = None
        before = request.carried_over or CarriedOver()
        super().__init__(cancel_requested=before.cancel_requested)
        self.quiet_since = before.quiet_since
        self.attention = before.attention

    # -- what others may ask ---------------------------------------------------------------------

    @workflow.update(
        name=ACCEPTED_UPDATE,
        description="Answers as soon as the payment is recorded.",
        unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON,
    )
    async def accepted(self) -> PaymentResult:
        """The early reply: the first step's outcome."""
        await workflow.wait_condition(lambda: self.first is not None)
        assert self.first is not None
        return self.result_of(self.first)

    # -- steps -----------------------------------------------------------------------------------

    async def first_step(self, step: Step) -> StepResult:
        """Record the payment. What is never right fails the workflow: nothing was written, the key is free."""
        result = await self._ledger(step, self.request)
        if result.transaction_id != self.request.transaction_id:
            workflow.upsert_search_attributes([attributes.TRANSACTION_ID.value_set(result.transaction_id)])
        self.first = result
        if self.attention is not None:
            workflow.set_current_details(parked_details(self.request, result, self.attention))
        return result

    async def receive(self) -> StepResult:
        """Have the receiver's shard record an outcome; parks where it does not answer.

        A cancelled transfer offers it a refusal, and takes what was recorded first.
        """
        assert self.first is not None
        recorded = replace(self.request, transaction_id=self.first.transaction_id, idempotency=None, carried_over=None)
        patience = timedelta(seconds=self.request.plan.quick_retry_seconds)
        while True:
            failure = _CANCELLED if self.cancel_requested else None
            command = ReceiveCommand(request=recorded, failure=failure)
            try:
                received = await self._ledger(
                    Step.RECEIVE_TRANSFER, command, patience=patience, until_cancelled=failure is None
                )
            except (FailureError, asyncio.CancelledError) as error:
                if failure is None and self.cancel_requested:
                    continue  # What it was asked meanwhile it answers again.
                if not isinstance(error, FailureError):
                    raise
                await self.park(Step.RECEIVE_TRANSFER, error)
            else:
                await self.unpark(received.status)
                return received

    async def step(self, step: Step, failure: Failure | None = None, rail: Rail | None = None) -> StepResult:
        """Take a later step; parks where it cannot be taken."""
        assert self.first is not None
        command = StepCommand(transaction_id=self.first.transaction_id, step=step, failure=failure, rail=rail)
        while True:
            try:
                result = await self._ledger(step, command)
            except FailureError as error:
                await self.park(step, error)
            else:
                await self.unpark(result.status)
                return result

    async def _ledger(
        self,
        step: Step,
        argument: PaymentRequest | StepCommand | ReceiveCommand,
        *,
        patience: timedelta | None = None,
        until_cancelled: bool = False,
    ) -> StepResult:
        """A step's outcome: quickly, or as a regular activity for as long as `patience` lasts, by default for ever."""
        try:
            quick: StepResult = await workflow.execute_local_activity(
                step.value,
                argument,
                result_type=StepResult,
                schedule_to_close_timeout=LOCAL_PATIENCE,
                start_to_close_timeout=LOCAL_PATIENCE,
                retry_policy=_LOCAL_RETRIES,
                summary=step.value,
            )
        except FailureError as error:
            if is_final(error):
                raise
        else:
            return quick
        patient: workflow.ActivityHandle[StepResult] = workflow.start_activity(
            step.value,
            argument,
            result_type=StepResult,
            schedule_to_close_timeout=patience,
            start_to_close_timeout=ATTEMPT,
            retry_policy=LEDGER_RETRIES,
            summary=f"{step.value}, the quick way did not go through",
        )
        if until_cancelled:
            await workflow.wait_condition(lambda: patient.done() or self.cancel_requested)
            if not patient.done():
                patient.cancel()
        return await patient

    # -- parking ---------------------------------------------------------------------------------

    async def park(self, step: str, error: FailureError) -> None:
        """Say what is wrong, then wait for an operator's `retry` or `cancel`, or until it is time to try again."""
        reason, detail = why(error)
        next_try = workflow.now() + timedelta(seconds=self.request.plan.slow_retry_seconds)
        since = self.attention.since if self.attention else workflow.now()
        await self.attend(Attention(step=step, reason=reason, since=since, detail=detail))
        patience = next_try - workflow.now()
        if not self._woken and patience > timedelta():
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._woken, timeout=patience, timeout_summary="next try by itself"
                )
        # Consumed only here: a command that came during the last try, or while attention was noted, brings another.
        self._woken = False
        await self.start_over_if_long()

    async def unpark(self, status: TransactionStatus) -> None:
        """The step went through: attention is over. A final status has cleared it in the ledger already."""
        if self.attention is not None:
            await self.attend(None, note=not status.final)

    async def attend(self, attention: Attention | None, *, note: bool = True) -> None:
        """Show attention, or that there is none any more; `note` it in the ledger, too."""
        assert self.first is not None
        changed = _essence(self.attention) != _essence(attention)
        self.attention = attention
        workflow.set_current_details(parked_details(self.request, self.first, attention))
        if not changed:
            return
        workflow.upsert_search_attributes(attributes.attention_updates(attention))
        if note:
            await workflow.execute_activity(
                NOTE_ATTENTION,
                AttentionNote(transaction_id=self.first.transaction_id, attention=attention),
                start_to_close_timeout=ATTEMPT,
                retry_policy=LEDGER_RETRIES,
                summary="show it at the transaction",
            )

    async def start_over_if_long(self) -> None:
        """Go on in a new run where the history has grown long: the same steps, the same keys.

        Not with a person's word in hand: the next run would hear it as one on the first request to the bank.
        """
        if not workflow.info().is_continue_as_new_suggested() or self.ruling is not None:
            return
        assert self.first is not None
        await workflow.wait_condition(workflow.all_handlers_finished)
        # What the sweeper would make of the transaction (the recorded id, no key to claim again), and what people said.
        resumed = replace(
            self.request,
            transaction_id=self.first.transaction_id,
            idempotency=None,
            carried_over=CarriedOver(
                cancel_requested=self.cancel_requested, quiet_since=self.quiet_since, attention=self.attention
            ),
        )
        workflow.continue_as_new(resumed)

    # -- the run ---------------------------------------------------------------------------------

    async def until_done(self, saga: Coroutine[object, object, PaymentResult]) -> PaymentResult:
        """Run the saga to its end. A cancellation from outside becomes a request that the saga answers when it can."""
        running = asyncio.create_task(saga)
        while True:
            try:
                result = await asyncio.shield(running)
                await workflow.wait_condition(workflow.all_handlers_finished)
                return result
            except asyncio.CancelledError:
                if running.cancelled():
                    raise
                self.cancel_requested = self._woken = True

    def done(self, last: StepResult) -> PaymentResult:
        """The workflow's result, with the final status searchable."""
        assert self.first is not None
        workflow.upsert_search_attributes([attributes.STATUS.value_set(last.status.value)])
        return self.result_of(last)

    def result_of(self, last: StepResult) -> PaymentResult:
        assert self.first is not None
        return PaymentResult(
            transaction_id=last.transaction_id,
            status=last.status,
            failure=last.failure,
            replayed=self.first.replayed,
            fingerprint=self.first.fingerprint,
        )


def why(error: FailureError) -> tuple[str, str]:
    """A stable reason and a sentence, from the first failure in the chain that has a code."""
    named: BaseException | None = cause_of(error)
    while named is not None and not (isinstance(named, ApplicationError) and named.type):
        named = named.__cause__
    if isinstance(named, ApplicationError) and named.type:
        return named.type, named.message
    cause = cause_of(error)
    return (TIMED_OUT if isinstance(cause, TimedOut) else type(cause).__name__), str(cause)


def _essence(attention: Attention | None) -> tuple[str, str] | None:
    return (attention.step, attention.reason) if attention else None
