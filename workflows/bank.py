"""Talking to a bank until the answer is certain."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from domain.contracts.activities import (
        CANCEL_AT_BANK,
        FIND_RULING,
        LOOK_UP_AT_BANK,
        PULL_FROM_BANK,
        PUSH_TO_BANK,
    )
    from domain.contracts.bank_events import BANK_HAS_NEWS_SIGNAL
    from domain.contracts.banks import BankCommand, BankReply, BankState
    from domain.contracts.operators import ActionKind, BankOutcome, OperatorAction
    from domain.contracts.payments import CONTRADICTION, Failure, PaymentRequest, bank_queue
    from domain.errors import DecisionCode
    from domain.transactions import TransactionStatus
    from workflows.operators import ATTEMPT, LEDGER_RETRIES, RECORDED
    from workflows.payment import Payment

_QUICK: Final = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=1.5)
_ATTEMPT: Final = timedelta(seconds=60)
_HEARTBEAT: Final = timedelta(seconds=10)
"""A worker that was killed at a bank call is noticed after this long."""
_SLOWEST_POLL: Final = timedelta(hours=1)
_PAID: Final = (BankState.ACCEPTED, BankState.SETTLED)
TAKEN_BACK: Final = "a cancelled payment that its bank has accepted is taken back there"
"""The change since which it is; histories from before it are replayed without."""
OWN_WORD_FIRST: Final = "what a person says is dropped where the bank's own answer comes first"
"""The change since which it is, and since which only `settled` says that a payment has settled."""
_SENDS: Final = (PULL_FROM_BANK, PUSH_TO_BANK)
_AT_THE_BANK: Final = (*_SENDS, LOOK_UP_AT_BANK, CANCEL_AT_BANK)
_RULED_UNPAID: Final = BankReply(state=BankState.REFUSED, refusal_code=DecisionCode.RESOLVED_UNPAID)
"""What a person's word stands for."""


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
        self._sending = False
        self._freed = False
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

    def why_not_rule(self, kind: ActionKind, outcome: BankOutcome) -> str | None:
        """A person's word counts where the bank's is missing; against the bank's own, two people's."""
        assert self.attention is not None
        if self.attention.step not in _AT_THE_BANK:
            return f"What the bank did is known; {self.attention.step} waits for the ledger."
        if kind is ActionKind.RESOLVE and self.attention.reason == CONTRADICTION:
            return "The bank's own answer says otherwise: that takes two people, by a force."
        if outcome is BankOutcome.NOT_PAID:
            return None if self._freed else self._why_not_unpaid()
        return "The payment has failed and its money is free again: have the bank undo it." if self._freed else None

    def knows(self, outcome: BankOutcome) -> bool:
        """Of what the bank has accepted, `paid` says nothing new."""
        return outcome is BankOutcome.PAID and self._answer is not None

    def _why_not_unpaid(self) -> str | None:
        if self._answer is not None:
            return "The bank has accepted it and our books have it; when the bank sends it back, that is a return."
        return "A request to the bank is under way; say so again when it has ended." if self._sending else None

    async def ask_bank(self, activity: str) -> BankReply:
        """Send `activity` until the bank's answer is certain, a person has said what it is, or the payment is
        cancelled and the bank never got it, or gives it back before it has moved any money."""
        assert self.first is not None
        if self.first.replayed:
            earlier = await self._earlier_ruling()
            self.ruling = self.ruling or earlier  # What was said meanwhile is newer.
        answer = await self._over_some_rail(activity)
        if self.cancel_requested and answer.state is BankState.ACCEPTED and answer.bank_payment_id is not None:
            answer = await self._taken_back(answer)
        await self.unpark(TransactionStatus.PROCESSING)
        return answer

    async def _over_some_rail(self, activity: str) -> BankReply:
        """The answer of the first rail that does not refuse it for itself alone.

        Each rail has a reference of its own, for ever refused before the next rail is asked, so that only one pays. A
        person's word is about the payment, whatever rail it is on.
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
        while not self._interrupted():
            self._asking = True
            try:
                return await self._certain(activity, self._command(ask_first=ask_first), until=self._interrupted)
            except ActivityError as error:
                if not self._interrupted():
                    await self.park(activity, error)
            except asyncio.CancelledError:
                # Its outcome came together with the cancellation and is lost here; the bank tells it again.
                if not self._interrupted():
                    raise
            ask_first = True
        self.quiet_since = self.quiet_since or workflow.now()
        return await self.look_up(self.quiet_since)

    async def look_up(self, quiet_since: datetime) -> BankReply:
        """Ask by reference until the answer is certain, or a person has said what it is.

        NOT_SEEN comes only long enough after the last request.
        """
        return await self._until_certain(LOOK_UP_AT_BANK, quiet_since)

    async def _taken_back(self, accepted: BankReply) -> BankReply:
        """Cancelled: what the bank makes of that, as long as nothing of it is in our books."""
        if not workflow.patched(TAKEN_BACK):
            return accepted
        self.quiet_since = self.quiet_since or workflow.now()
        answer = await self._until_certain(CANCEL_AT_BANK, self.quiet_since)
        if answer.state is BankState.CANCELLED:
            self._answer = None
        return answer

    async def _until_certain(self, activity: str, quiet_since: datetime) -> BankReply:
        while self.ruling is None:
            command = self._command(last_sent_at=quiet_since)
            try:
                return await self._certain(activity, command, until=lambda: self.ruling is not None)
            except ActivityError as error:
                if self.ruling is None:
                    await self.park(activity, error)
            except asyncio.CancelledError:
                if self.ruling is None:
                    raise
        return self._as_ruled(self.ruling)

    def _interrupted(self) -> bool:
        return self.cancel_requested or self.ruling is not None

    def _as_ruled(self, ruling: OperatorAction) -> BankReply:
        """What the bank would have answered."""
        self.ruling = None
        if ruling.outcome is BankOutcome.NOT_PAID:
            return _RULED_UNPAID
        settled = ruling.outcome is BankOutcome.SETTLED
        if not settled and self._answer is not None:
            settled = not workflow.patched(OWN_WORD_FIRST)
        self._answer = BankReply(state=BankState.SETTLED if settled else BankState.ACCEPTED)
        return self._answer

    def _overtaken(self) -> None:
        """The bank has accepted it while a person said what it did: that counts, unless they said more than it does."""
        if self.ruling is None or self.ruling.outcome is BankOutcome.SETTLED or self._freed:
            return
        if workflow.patched(OWN_WORD_FIRST):
            self.ruling = None

    async def _earlier_ruling(self) -> OperatorAction | None:
        """What a person told a run before this one, which may have ended between their word and its effect."""
        assert self.first is not None
        if not workflow.patched(RECORDED):
            return None
        ruling: OperatorAction | None = await workflow.execute_activity(
            FIND_RULING,
            self.first.transaction_id,
            result_type=OperatorAction | None,  # type: ignore[arg-type]
            start_to_close_timeout=ATTEMPT,
            retry_policy=LEDGER_RETRIES,
            summary="has a person said what the bank did?",
        )
        return ruling

    async def until_bank_agrees(self, answer: BankReply) -> None:
        """Where a person's word has freed the money: ask until the bank says the same; if it has paid, it parks."""
        if answer != _RULED_UNPAID:
            return
        self._freed = True
        freed_at = workflow.now()
        while (await self.look_up(freed_at)).state in _PAID:
            message = "The payment was ended as not paid, and the bank says now that it has paid."
            await self.park(LOOK_UP_AT_BANK, ApplicationError(message, type=CONTRADICTION))
        if self.attention is not None:
            await self.attend(None)

    async def start_over_if_long(self) -> None:
        """A new run would find the payment ended, and ask no more."""
        if not self._freed:
            await super().start_over_if_long()

    async def until_settled(self, answer: BankReply) -> None:
        """Wait until an accepted payment has settled, asking ever more rarely."""
        # Nothing is sent any more, in no later run either.
        self.quiet_since = self.quiet_since or workflow.now()
        pause = timedelta(seconds=self.request.plan.settlement_poll_seconds)
        while answer.state is not BankState.SETTLED:
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._news or self.ruling is not None,
                    timeout=pause,
                    timeout_summary="until the bank has settled",
                )
            self._news = False
            await self.start_over_if_long()
            pause = min(pause * 2, _SLOWEST_POLL)
            answer = await self.look_up(self.quiet_since)
            if answer.state in _PAID:
                await self.unpark(TransactionStatus.PROCESSING)
            else:
                # A bank that takes back its word is for a person to talk to; the money stays in clearing.
                message = f"The bank had accepted the payment and now says {answer.state}."
                await self.park(LOOK_UP_AT_BANK, ApplicationError(message, type=CONTRADICTION))

    async def _certain(self, activity: str, command: BankCommand, *, until: Callable[[], bool]) -> BankReply:
        self._sending = activity in _SENDS
        try:
            return await self._asked(activity, command, until)
        finally:
            self._sending = False

    async def _asked(self, activity: str, command: BankCommand, until: Callable[[], bool]) -> BankReply:
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
        await workflow.wait_condition(lambda: asking.done() or until())
        if not asking.done():
            # Ends its retries at once; a request under way is waited for.
            asking.cancel()
        reply = await asking
        if reply.state in _PAID:
            self._answer = reply
            self._overtaken()
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
    if answer == _RULED_UNPAID:
        return Failure(code=DecisionCode.RESOLVED_UNPAID, detail=DecisionCode.RESOLVED_UNPAID.meaning)
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
