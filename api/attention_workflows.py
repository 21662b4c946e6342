"""What operators do about batches and returns that need a person: list them, look at one, retry, resolve, write off."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from api.answers import answer
from api.attention import LONGEST_PAGE, Filter, action_of
from api.attention_bodies import ApproveBody, ResolveReturnBody, RetryBody, WriteOffReturnBody
from api.attention_views import ActionView, view_of_action
from api.backends import Backends, Reach
from api.cursors import read_workflows_cursor, workflows_cursor
from api.idempotency import KeyHeader, demand_key, fingerprint_of, record_of
from api.json_body import JsonRoute
from api.openapi import READS, WRITES, problems, success
from api.operating import asked_by
from api.parked_workflows import ParkedWorkflow, ParkedWorkflows
from api.schemas import RuleBody
from api.security import Operator
from api.views import View
from domain.contracts.operators import ActionKind
from domain.contracts.payments import Attention
from domain.contracts.returns import TAKE_RETURN, bank_and_reference
from domain.errors import (
    CannotApprove,
    CannotResolve,
    CannotRetry,
    Forbidden,
    IdempotencyKeyReused,
    InvalidCursor,
    NotFound,
    WorkflowsUnavailable,
)
from domain.ids import ActionId, TransactionId

router: Final = APIRouter(route_class=JsonRoute, tags=["operators"])
log = structlog.get_logger("api.audit")

WorkflowId = Annotated[
    str,
    Path(pattern=r"^(tb_|return:)[!-~]+$", max_length=300, description="A batch's id, or a return's workflow id."),
]


class WorkflowAttentionView(View):
    """It cannot go on by itself: at which step, why, since when."""

    step: str
    reason: str
    since: datetime


class ParkedWorkflowView(View):
    """A batch of transfers, or a return, as it is now."""

    workflow_id: str = Field(description="As the Temporal UI has it; a batch's is the batch's id.")
    kind: str = Field(examples=["transfer_batch", "return"])
    running: bool
    client_id: str | None = None
    bank: str | None = None
    transaction_id: str | None = Field(default=None, description="The payment that came back, once it is known.")
    attention: WorkflowAttentionView | None = Field(default=None, description="Where it is parked.")
    details: str | None = Field(default=None, description="What is known, what is not, what can be done. Markdown.")


class ParkedWorkflowPageView(View):
    """A page of parked batches and returns, newest first; no `next_cursor` on the last."""

    workflows: list[ParkedWorkflowView]
    next_cursor: str | None = None


@router.get(
    "/v1/attention/workflows",
    response_model=ParkedWorkflowPageView,
    responses={
        **success(200, "A page of them."),
        **problems((*READS, Forbidden, InvalidCursor, WorkflowsUnavailable)),
    },
    summary="List the batches and returns that need a person (operators)",
)
async def list_parked_workflows(
    caller: Operator,
    backends: Reach,
    *,
    wanted: Filter,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=2_000)] = None,
) -> Response:
    """Of all clients, by any of reason, step, bank and age. What has just parked is found a moment later."""
    after = read_workflows_cursor(cursor) if cursor is not None else None
    found, rest = await _parked(backends).page(wanted, after=after, limit=limit)
    more = workflows_cursor(rest) if rest is not None else None
    return answer(ParkedWorkflowPageView(workflows=[_view(item) for item in found], next_cursor=more))


@router.get(
    "/v1/attention/workflows/{workflow_id}",
    response_model=ParkedWorkflowView,
    responses={
        **success(200, "The batch or return as it is now."),
        **problems((*READS, Forbidden, WorkflowsUnavailable)),
    },
    summary="Look at a batch or a return (operators)",
)
async def show_parked_workflow(workflow_id: WorkflowId, caller: Operator, backends: Reach) -> Response:
    """Also one that is not parked, or no longer, while Temporal remembers it."""
    return answer(_view(await _parked(backends).one(workflow_id)))


@router.post(
    "/v1/attention/workflows/{workflow_id}/retry",
    response_model=ParkedWorkflowView,
    responses={
        **success(200, "It is tried again."),
        **problems((*WRITES, NotFound, WorkflowsUnavailable, CannotRetry)),
    },
    summary="Try a parked batch or return again now (operators)",
)
async def retry_parked_workflow(
    workflow_id: WorkflowId, body: RetryBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """Nothing is paid or booked twice by it. One key tells it once."""
    chosen = demand_key(key, body)
    parked = _parked(backends)
    await parked.one(workflow_id)
    fingerprint = fingerprint_of("/v1/attention/workflows/retry", body)
    update_id = record_of(caller.client_id, None, chosen, fingerprint).key_digest
    await parked.retry(workflow_id, asked_by(caller), body.reason, update_id)
    _note(workflow_id, "retry", asked_by(caller), body)
    return answer(_view(await parked.one(workflow_id)))


@router.post(
    "/v1/attention/workflows/{workflow_id}/resolve",
    response_model=ParkedWorkflowView,
    responses={
        **success(200, "It is off the suspense account, and its workflow has ended."),
        **problems((*WRITES, NotFound, IdempotencyKeyReused, WorkflowsUnavailable, CannotResolve)),
    },
    summary="Say that the bank has put a return right that was no payment's (operators)",
)
async def resolve_parked_return(
    workflow_id: WorkflowId, body: ResolveReturnBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """It was booked on a suspense account; now our books follow the bank's correction. Recorded with who said so."""
    parked = _parked(backends)
    item = await _item(backends, workflow_id)
    action = action_of(item, caller, ActionKind.RESOLVE, body, key)
    done = await backends.operating.tell(item, replace(action, outcome=body.outcome, evidence=body.evidence))
    _note(workflow_id, "resolve", done.by, body)
    return answer(_view(await parked.one(workflow_id)))


@router.post(
    "/v1/attention/workflows/{workflow_id}/force",
    response_model=ActionView,
    responses={
        **success(200, "It is proposed; nothing has happened yet."),
        **problems((*WRITES, NotFound, IdempotencyKeyReused, WorkflowsUnavailable, CannotResolve)),
    },
    summary="Propose to write off a return that was no payment's (operators)",
)
async def propose_write_off_of_return(
    workflow_id: WorkflowId, body: WriteOffReturnBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """What nobody will put right is ours to bear, or to keep, when another operator approves it."""
    item = await _item(backends, workflow_id)
    action = action_of(item, caller, ActionKind.FORCE, body, key)
    proposed = await backends.operating.ask(item, replace(action, outcome=body.outcome))
    _note(workflow_id, "force", proposed.by, body)
    return answer(view_of_action(proposed))


@router.post(
    "/v1/attention/workflows/{workflow_id}/force/{action_id}/approve",
    response_model=ActionView,
    responses={
        **success(200, "It is off the suspense account, and its workflow has ended."),
        **problems((*WRITES, NotFound, IdempotencyKeyReused, WorkflowsUnavailable, CannotApprove, CannotResolve)),
    },
    summary="Approve that a return is written off (operators)",
)
async def approve_write_off_of_return(
    workflow_id: WorkflowId,
    action_id: ActionId,
    *,
    body: ApproveBody,
    caller: Operator,
    backends: Reach,
    key: KeyHeader = None,
) -> Response:
    """With another key than that of who proposed it. Approving twice is the same as once."""
    demand_key(key, body)
    item = await _item(backends, workflow_id)
    done = await backends.operating.approve(item, action_id, caller, body.reason)
    _note(workflow_id, "approve", asked_by(caller), body)
    return answer(view_of_action(done))


@dataclass(frozen=True, slots=True)
class _SuspendedReturn:
    """A return on a suspense account, as operators tell it something."""

    transaction_id: TransactionId
    workflow_id: str
    attention: Attention | None


async def _item(backends: Backends, workflow_id: str) -> _SuspendedReturn:
    """What is recorded of a return that is no payment's. Raises NotFound and CannotResolve."""
    named = bank_and_reference(workflow_id)
    if named is None:
        raise CannotResolve("Only a return can be put right by its bank.")
    item = await backends.ledger.find_suspense(*named)
    if item is None:
        await _parked(backends).one(workflow_id)
        raise CannotResolve("It is on no suspense account.")
    open_since = Attention(step=TAKE_RETURN, reason=item.reason, since=item.since)
    return _SuspendedReturn(item.item_id, workflow_id, None if item.cleared_as else open_since)


def _note(workflow_id: str, kind: str, by: str, body: RuleBody) -> None:
    log.info("workflow.told", workflow_id=workflow_id, kind=kind, by=by, reason=body.reason)


def _parked(backends: Backends) -> ParkedWorkflows:
    return ParkedWorkflows(backends.temporal.client, backends.settings.accept_timeout_seconds)


def _view(found: ParkedWorkflow) -> ParkedWorkflowView:
    attention = None
    if found.since is not None and found.step is not None and found.reason is not None:
        attention = WorkflowAttentionView(step=found.step, reason=found.reason, since=found.since)
    return ParkedWorkflowView(
        workflow_id=found.workflow_id,
        kind=found.kind,
        running=found.running,
        client_id=found.client_id,
        bank=found.bank,
        transaction_id=found.transaction_id,
        attention=attention,
        details=found.details,
    )
