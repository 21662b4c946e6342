"""What operators do about payments that need a person: list them, look at one, retry, resolve, force."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Query, Response

from api.answers import answer
from api.attention_bodies import ApproveBody, ForceBody, ResolveBody, RetryBody
from api.attention_views import (
    ActionView,
    ParkedDetailView,
    ParkedPageView,
    detail_of_parked,
    view_of_action,
    view_of_parked,
)
from api.backends import Backends, Reach
from api.cursors import attention_cursor, read_attention_cursor
from api.idempotency import KeyHeader, demand_key, fingerprint_of, record_of
from api.json_body import JsonRoute
from api.openapi import READS, WRITES, Responses, problems, success
from api.operating import Addressee, new_action
from api.schemas import RuleBody
from api.security import Caller, Operator
from domain.contracts.operators import ActionKind, AttentionFilter, NewAction, OperatorAction
from domain.errors import (
    CannotApprove,
    CannotResolve,
    CannotRetry,
    Forbidden,
    IdempotencyKeyReused,
    InvalidCursor,
    NotFound,
    SagapayError,
    WorkflowsUnavailable,
)
from domain.ids import ActionId, TransactionId
from ledger.service import Transaction

router: Final = APIRouter(route_class=JsonRoute, tags=["operators"])
log = structlog.get_logger("api.audit")

LONGEST_PAGE: Final = 200
_LONGEST_AGE_SECONDS: Final = 366 * 24 * 3600

_Word = Annotated[str | None, Query(max_length=100, pattern="^[a-z][a-z0-9_-]*$")]


def _filter(
    reason: _Word = None,
    step: _Word = None,
    bank: _Word = None,
    older_than_seconds: Annotated[
        int | None, Query(ge=0, le=_LONGEST_AGE_SECONDS, description="Parked for at least so long.")
    ] = None,
) -> AttentionFilter:
    before = datetime.now(UTC) - timedelta(seconds=older_than_seconds) if older_than_seconds is not None else None
    return AttentionFilter(reason=reason, step=step, bank=bank, before=before)


Filter = Annotated[AttentionFilter, Depends(_filter)]
"""What is listed, from the query: by any of reason, step, bank and age."""


def _responses(description: str, *more: type[SagapayError]) -> Responses:
    refusals = (*WRITES, NotFound, IdempotencyKeyReused, WorkflowsUnavailable, *more)
    return {**success(200, description), **problems(refusals)}


@router.get(
    "/v1/attention",
    response_model=ParkedPageView,
    responses={**success(200, "A page of them."), **problems((*READS, Forbidden, InvalidCursor))},
    summary="List the payments that need a person (operators)",
)
async def list_attention(
    caller: Operator,
    backends: Reach,
    *,
    wanted: Filter,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Of all clients, oldest first, by any of reason, step, bank and age."""
    after = read_attention_cursor(cursor) if cursor is not None else None
    found = await backends.ledger.attention(wanted, after=after, limit=limit + 1)
    more = attention_cursor(found[limit - 1].transaction_id) if len(found) > limit else None
    page = ParkedPageView(payments=[view_of_parked(item) for item in found[:limit]], next_cursor=more)
    return answer(page)


@router.get(
    "/v1/attention/{transaction_id}",
    response_model=ParkedDetailView,
    responses={**success(200, "The payment as it is now."), **problems((*READS, Forbidden))},
    summary="Look at a payment and at what operators told it (operators)",
)
async def show_attention(
    transaction_id: TransactionId,
    caller: Operator,
    backends: Reach,
) -> Response:
    """Also one that is not parked, or no longer."""
    return await _detail(backends, await _found(backends, transaction_id))


@router.post(
    "/v1/attention/{transaction_id}/retry",
    response_model=ParkedDetailView,
    responses=_responses("It is tried again.", CannotRetry),
    summary="Try a parked payment again now (operators)",
)
async def retry_payment(
    transaction_id: TransactionId, body: RetryBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """Retrying cannot pay twice: the bank is asked for our reference before it is told anything."""
    found = await _found(backends, transaction_id)
    await _tell(backends, found, action_of(found, caller, ActionKind.RETRY, body, key))
    return await _detail(backends, await _found(backends, transaction_id))


@router.post(
    "/v1/attention/{transaction_id}/resolve",
    response_model=ParkedDetailView,
    responses=_responses("The payment goes on as the bank said.", CannotResolve),
    summary="Say what the bank did, with evidence (operators)",
)
async def resolve_payment(
    transaction_id: TransactionId, body: ResolveBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """Where the bank's interface gives no answer and it was learned by other ways.

    `paid` (the bank has accepted it) credits a deposit and captures a withdrawal, `settled` (its statement has it) ends
    either, `not_paid` fails it and frees its money. Unless it has settled, the bank is asked on: where it says
    otherwise later, the payment parks again and nothing is moved.
    """
    found = await _found(backends, transaction_id)
    action = action_of(found, caller, ActionKind.RESOLVE, body, key)
    await _tell(backends, found, replace(action, outcome=body.outcome, evidence=body.evidence))
    return await _detail(backends, await _found(backends, transaction_id))


@router.post(
    "/v1/attention/{transaction_id}/force",
    response_model=ActionView,
    responses=_responses("It is proposed; nothing has happened yet.", CannotResolve),
    summary="Propose to end a payment against what the bank says (operators)",
)
async def propose_force(
    transaction_id: TransactionId, body: ForceBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """It happens when another operator approves it."""
    found = await _found(backends, transaction_id)
    action = action_of(found, caller, ActionKind.FORCE, body, key)
    proposed = await backends.operating.ask(found, replace(action, outcome=body.outcome))
    _note(proposed)
    return answer(view_of_action(proposed))


@router.post(
    "/v1/attention/{transaction_id}/force/{action_id}/approve",
    response_model=ActionView,
    responses=_responses("The payment goes on as forced.", CannotApprove, CannotResolve),
    summary="Approve what another operator has proposed (operators)",
)
async def approve_force(
    transaction_id: TransactionId,
    action_id: ActionId,
    *,
    body: ApproveBody,
    caller: Operator,
    backends: Reach,
    key: KeyHeader = None,
) -> Response:
    """With another key than that of who proposed it. Approving twice is the same as once."""
    demand_key(key, body)
    found = await _found(backends, transaction_id)
    done = await backends.operating.approve(found, action_id, caller, body.reason)
    _note(done)
    return answer(view_of_action(done))


async def _found(backends: Backends, transaction_id: TransactionId) -> Transaction:
    found = await backends.ledger.transaction(transaction_id)
    if found is None:
        raise NotFound
    return found


def action_of(found: Addressee, caller: Caller, kind: ActionKind, body: RuleBody, key: str | None) -> NewAction:
    """One key, one action: its id is made of the key."""
    chosen = demand_key(key, body)
    digest = record_of(caller.client_id, None, chosen, fingerprint_of(f"/v1/attention/{kind}", body)).key_digest
    action_id = ActionId.from_hex(f"{digest[:-3]}{found.transaction_id.bucket:03x}")
    return new_action(found, caller, kind, body.reason, action_id)


async def _tell(backends: Backends, found: Transaction, action: NewAction) -> None:
    _note(await backends.operating.tell(found, action))


def _note(action: OperatorAction) -> None:
    log.info("payment.told", transaction_id=action.transaction_id, kind=action.kind, by=action.by, state=action.state)


async def _detail(backends: Backends, found: Transaction) -> Response:
    timeline = await backends.ledger.timeline(found.transaction_id)
    return answer(detail_of_parked(found, timeline, await backends.ledger.actions(found.transaction_id)))
