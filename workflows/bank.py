"""Talking to a bank until the answer is certain."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from domain.contracts.activities import LOOK_UP_AT_BANK
    from domain.contracts.bank_events import BANK_HAS_NEWS_SIGNAL
    from domain.contracts.banks import BankCommand, BankReply, BankState
    from domain.contracts.payments import Failure, PaymentRequest, bank_queue
    from domain.errors import DecisionCode
    from domain.transactions import TransactionStatus
    from workflows.payment import Payment

_QUICK: Final = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=1.5)
_ATTEMPT: Final = timedelta(seconds=60)
_HEARTBEAT: Final = timedelta(seconds=10)
"""A worker that was killed at a bank call is noticed after this long."""
_SLOWEST_POLL: Final = timedelta(hours=1)
_PAID: Final = (BankState.ACCEPTED, BankState.SETTLED)

CONTRADICTION: Final = "bank_contradicts_itself"
"""Attention's reason where a bank takes back that it has accepted a payment."""


class BankPayment(Payment):
    """A payment with a bank at its other end.

    Only the bank's certain answer ends it: a time-out is not a failure. That nothing was sent is never concluded from
    this run alone, for an operator may have reset it to before an earlier run's request; the bank is asked instead.
    """

    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)
        self.rail, *_ = request.rail_plan
        self._asking = False
        self._news = False
        self._answer: BankReply | None = None

    def why_not_cancel(self) -> str | None:
        """Too late once the bank may have it, unless the payment is parked: then the bank is asked first."""
        if self.first is not None and self.first.status.final:
            return "The payment is finished."
        if self._answer is not None:
            return f"The bank has already {self._answer.state} it."
        if self._asking and self.attention is None:
            return "The bank may already have it; it has not answered yet."
        return None

    @workflow.signal(name=BANK_HAS_NEWS_SIGNAL, description="The bank has sent an event: ask it now.")
    def bank_has_news(self, event_id: str) -> None:
        """Wake a payment that waits for its bank, parked or not. What the event says is not believed."""
        self._news = self._woken = True
        workflow.logger.info("the bank has news", extra={"event_id": event_id})

    async def ask_bank(self, activity: str) -> BankReply:
        """Send `activity` until the bank's answer is certain, or the payment is cancelled and the bank never got it."""
        answer = await self._over_some_rail(activity)
        await self.unpark(TransactionStatus.PROCESSING)
        return answer

    async def _over_some_rail(self, activity: str) -> BankReply:
        """The answer of the first rail that does not refuse it for itself alone.

        Each rail has a reference of its own, for ever refused before the next rail is asked, so that only one pays.
        """
        for rail in self.request.rail_plan:
            self.rail = rail
            answer = await self._send(activity)
            if not (answer.state is BankState.REFUSED and answer.rail_only):
                break
        return answer

    async def _send(self, activity: str) -> BankReply:
        assert self.first is not None
        ask_first = self.first.replayed
        while not self.cancel_requested:
            self._asking = True
            try:
                return await self._certain(activity, self._command(ask_first=ask_first), until_cancelled=True)
            except ActivityError as error:
                if not self.cancel_requested:
                    await self.park(activity, error)
            except asyncio.CancelledError:
                # Its outcome came together with the cancellation and is lost here; the bank tells it again.
                if not self.cancel_requested:
                    raise
            ask_first = True
        self.quiet_since = self.quiet_since or workflow.now()
        return await self.look_up(self.quiet_since)

    async def look_up(self, quiet_since: datetime) -> BankReply:
        """Ask by reference until the answer is certain. NOT_SEEN comes only long enough after the last request."""
        while True:
            try:
                return await self._certain(LOOK_UP_AT_BANK, self._command(last_sent_at=quiet_since))
            except ActivityError as error:
                await self.park(LOOK_UP_AT_BANK, error)

    async def until_settled(self, answer: BankReply) -> None:
        """Wait until an accepted payment has settled, asking ever more rarely."""
        pause = timedelta(seconds=self.request.plan.settlement_poll_seconds)
        while answer.state is not BankState.SETTLED:
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._news, timeout=pause, timeout_summary="until the bank has settled"
                )
            self._news = False
            await self.start_over_if_long()
            pause = min(pause * 2, _SLOWEST_POLL)
            answer = await self.look_up(workflow.now())
            if answer.state in _PAID:
                await self.unpark(TransactionStatus.PROCESSING)
            else:
                # A bank that takes back its word is for a person to talk to; the money stays in clearing.
                message = f"The bank had accepted the payment and now says {answer.state}."
                await self.park(LOOK_UP_AT_BANK, ApplicationError(message, type=CONTRADICTION))

    async def _certain(self, activity: str, command: BankCommand, *, until_cancelled: bool = False) -> BankReply:
        asking: workflow.ActivityHandle[BankReply] = workflow.start_activity(
            activity,
            command,
            result_type=BankReply,
            task_queue=bank_queue(command.bank),
            start_to_close_timeout=_ATTEMPT,
            heartbeat_timeout=_HEARTBEAT,
            schedule_to_close_timeout=timedelta(seconds=self.request.plan.quick_retry_seconds),
            retry_policy=_QUICK,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"{activity} {command.amount}",
        )
        if until_cancelled:
            await workflow.wait_condition(lambda: asking.done() or self.cancel_requested)
            if not asking.done():
                # Ends its retries at once; a request under way is waited for.
                asking.cancel()
        reply = await asking
        if reply.state in _PAID:
            self._answer = reply
        return reply

    @property
    def _reference(self) -> str:
        assert self.first is not None
        named = f"{self.first.transaction_id}:{self.request.kind}"
        return named if self.rail is self.request.rail_plan[0] else f"{named}:{self.rail}"

    def _command(self, *, ask_first: bool = False, last_sent_at: datetime | None = None) -> BankCommand:
        assert self.first is not None
        assert self.request.bank is not None
        assert self.request.bank_account_id is not None
        return BankCommand(
            transaction_id=self.first.transaction_id,
            reference=self._reference,
            bank=self.request.bank,
            bank_account_id=self.request.bank_account_id,
            amount=self.request.amount,
            rail=self.rail,
            memo=self.request.memo,
            ask_first=ask_first,
            last_sent_at=last_sent_at,
        )


def why_unpaid(answer: BankReply) -> Failure | None:
    """The failure that a certain answer means, or None if the bank has done it."""
    if answer.state is BankState.REFUSED:
        detail = answer.refusal_detail or "The bank refused the payment."
        return Failure(code=DecisionCode.BANK_REFUSED, detail=f"{detail} ({answer.refusal_code})")
    if answer.state is BankState.NOT_SENT:
        detail = answer.refusal_detail or DecisionCode.BANK_ACCOUNT_INACTIVE.meaning
        return Failure(code=DecisionCode.BANK_ACCOUNT_INACTIVE, detail=detail)
    if answer.state is BankState.NOT_SEEN:
        return Failure(code=DecisionCode.CANCELLED, detail="Cancelled before the bank got it.")
    if answer.state is BankState.CANCELLED:
        return Failure(code=DecisionCode.CANCELLED, detail="Cancelled at the bank before it moved any money.")
    return None
