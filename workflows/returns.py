"""Returns: what banks' statements say came back is found by a schedule, and each is booked by a workflow of its own."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from domain.contracts.operators import ActionClaim, ActionKind, BankOutcome
    from domain.contracts.payments import PAYMENT_QUEUE, Attention, bank_queue
    from domain.contracts.returns import (
        CLEAR_RETURN,
        FIND_RETURNS,
        FOLLOW_RETURN,
        RETURN_WORKFLOW,
        TAKE_RETURN,
        WATCH_RETURNS_WORKFLOW,
        FindReturns,
        FoundReturns,
        ReturnOutcome,
        ReturnRequest,
        Suspended,
        WatchReport,
        WatchRequest,
        return_workflow_id,
    )
    from domain.contracts.suspense import SuspenseItem
    from domain.contracts.workflows import CANNOT_RESOLVE, FORCE_UPDATE, RESOLVE_UPDATE, OperatorCommand
    from domain.errors import InvalidId
    from domain.ids import ActionId
    from workflows import attributes
    from workflows.details import return_details
    from workflows.operators import API_ONLY, refused
    from workflows.parking import Parkable
    from workflows.payment import why

_RETRIES: Final = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=15))
_ATTEMPT: Final = timedelta(seconds=30)
_HEARTBEAT: Final = timedelta(seconds=10)
_READING: Final = timedelta(minutes=10)
_PATIENCE_WITH_A_BANK: Final = timedelta(minutes=2)
SLOW_RETRY: Final = timedelta(hours=1)
_SAID: Final = {ActionKind.RESOLVE: "put right", ActionKind.FORCE: "written off"}


@workflow.defn(name=WATCH_RETURNS_WORKFLOW)
class WatchReturnsWorkflow:
    """Reads every bank's statement from where the last run stopped, and starts a workflow for each return.

    A bank that does not answer is read from the same place the next time; the others are not kept waiting for long.
    """

    @workflow.run
    async def run(self, request: WatchRequest) -> WatchReport:
        """See the class."""
        last: WatchReport | None = None
        if workflow.has_last_completion_result():
            last = workflow.get_last_completion_result(WatchReport)
        read_until = dict(last.read_until) if last else {}
        started = 0
        for bank in request.banks:
            found = await self._read(bank, read_until.get(bank))
            if found is not None:
                started += sum([await self._start(each) for each in found.returns])
                read_until[bank] = found.until
        return WatchReport(read_until=read_until, started=started)

    async def _read(self, bank: str, since: datetime | None) -> FoundReturns | None:
        try:
            found: FoundReturns = await workflow.execute_activity(
                FIND_RETURNS,
                FindReturns(bank=bank, since=since),
                result_type=FoundReturns,
                task_queue=bank_queue(bank),
                start_to_close_timeout=_READING,
                schedule_to_close_timeout=_PATIENCE_WITH_A_BANK,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_RETRIES,
                summary=f"what came back at {bank}",
            )
        except ActivityError as error:
            workflow.logger.warning("statement not read", extra={"bank": bank, "reason": why(error)[0]})
            return None
        return found

    async def _start(self, request: ReturnRequest) -> bool:
        """Whether the return is new, or its workflow was ended by somebody; others are booked, or being booked."""
        try:
            await workflow.start_child_workflow(
                RETURN_WORKFLOW,
                request,
                id=return_workflow_id(request.bank, request.notice.reference),
                task_queue=PAYMENT_QUEUE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                static_summary=f"{request.amount} came back: {request.notice.code}",
                search_attributes=attributes.of_return(request),
            )
        except WorkflowAlreadyStartedError:
            return False
        return True


@workflow.defn(name=RETURN_WORKFLOW)
class ReturnWorkflow(Parkable):
    """Takes one settled payment back: books it, then stops on the bank account what the code forbids.

    What is no return of ours, or has no wallet to go to, goes to suspense and parks: a person talks to the bank, and
    says when it has put it right; or two write it off.
    """

    @workflow.init
    def __init__(self, request: ReturnRequest) -> None:
        super().__init__("return", SLOW_RETRY)
        self._request = request
        self._suspended: Suspended | None = None

    @workflow.run
    async def run(self, request: ReturnRequest) -> ReturnOutcome:
        """See the class."""
        return await self.until_done(self._book())

    @workflow.update(name=RESOLVE_UPDATE, description="The bank has put it right. Only through the operators' API.")
    async def resolve(self, command: OperatorCommand) -> str:
        """Take the return off the suspense account: a person has it from the bank, and can show so."""
        return await self._cleared(ActionKind.RESOLVE, command)

    @resolve.validator
    def _may_resolve(self, command: OperatorCommand) -> None:
        self._demand_open(command, BankOutcome.CORRECTED)

    @workflow.update(name=FORCE_UPDATE, description="Two people write it off. Only through the operators' API.")
    async def force(self, command: OperatorCommand) -> str:
        """Take the return off the suspense account: two people have agreed that nobody will put it right."""
        return await self._cleared(ActionKind.FORCE, command)

    @force.validator
    def _may_force(self, command: OperatorCommand) -> None:
        self._demand_open(command, BankOutcome.WRITTEN_OFF)

    def _demand_open(self, command: OperatorCommand, outcome: BankOutcome) -> None:
        if self._suspended is None:
            raise refused(CANNOT_RESOLVE, "It is on no suspense account.")
        if self._suspended.cleared_as is not None:
            raise refused(CANNOT_RESOLVE, f"It is {self._suspended.cleared_as} already.")
        try:
            ActionId.parse(command.action_id)
        except InvalidId:
            raise refused(CANNOT_RESOLVE, API_ONLY) from None
        if command.outcome != outcome:
            raise refused(CANNOT_RESOLVE, f"Of a return that is no payment's only `{outcome}` can be said so.")

    async def _cleared(self, kind: ActionKind, command: OperatorCommand) -> str:
        suspended = self._suspended
        assert suspended is not None, "the validator has seen it"
        claim = ActionClaim(
            action_id=ActionId(command.action_id),
            transaction_id=suspended.item_id,
            kind=kind,
            recorded=True,
            by=command.by,
            reason=command.reason,
            outcome=command.outcome,
            step=TAKE_RETURN,
            since=suspended.since,
        )
        try:
            item: SuspenseItem = await workflow.execute_activity(
                CLEAR_RETURN,
                claim,
                result_type=SuspenseItem,
                start_to_close_timeout=_ATTEMPT,
                retry_policy=_RETRIES,
                summary=f"{_SAID[kind]}, says {command.by}"[:200],
            )
        except ActivityError as error:
            raise error.cause or error from None
        self._suspended = replace(suspended, cleared_as=item.cleared_as)
        self.wake()
        return "off the suspense account"

    async def _book(self) -> ReturnOutcome:
        booked = await self._take_back()
        if booked.unmatched is not None:
            return booked
        if booked.transaction_id is not None:
            workflow.upsert_search_attributes([attributes.TRANSACTION_ID.value_set(booked.transaction_id)])
        await self._follow()
        return booked

    def details(self, attention: Attention | None) -> str:
        """See Parkable."""
        return return_details(self._request, attention, self._suspended, SLOW_RETRY)

    async def _take_back(self) -> ReturnOutcome:
        while True:
            try:
                outcome: ReturnOutcome = await workflow.execute_activity(
                    TAKE_RETURN,
                    self._request,
                    result_type=ReturnOutcome,
                    start_to_close_timeout=_ATTEMPT,
                    retry_policy=_RETRIES,
                    summary=f"take {self._request.amount} back",
                )
            except ActivityError as error:
                await self.park(TAKE_RETURN, *why(error))
                continue
            if outcome.unmatched is None or self._is_cleared(outcome):
                self.attend(None)
                return outcome
            await self.park(TAKE_RETURN, outcome.unmatched, outcome.detail)
            if self._suspended is not None and self._suspended.cleared_as is not None:
                self.attend(None)
                return replace(outcome, suspended=self._suspended)

    def _is_cleared(self, outcome: ReturnOutcome) -> bool:
        """Whether the return is off the suspense account; remembers that it is on it."""
        self._suspended = outcome.suspended
        return outcome.suspended is not None and outcome.suspended.cleared_as is not None

    async def _follow(self) -> None:
        while True:
            try:
                await workflow.execute_activity(
                    FOLLOW_RETURN,
                    self._request,
                    start_to_close_timeout=_ATTEMPT,
                    retry_policy=_RETRIES,
                    summary=f"what {self._request.notice.code} forbids",
                )
            except ActivityError as error:
                await self.park(FOLLOW_RETURN, *why(error))
            else:
                return self.attend(None)
