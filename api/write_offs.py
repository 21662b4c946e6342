"""What operators do about debts that will not be paid: two of them write one off."""

from datetime import datetime
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field

from api.answers import answer
from api.attention import LONGEST_PAGE
from api.attention_bodies import ApproveBody
from api.backends import Backends, Reach
from api.cursors import read_write_offs_cursor, write_offs_cursor
from api.idempotency import KeyHeader, demand_key, fingerprint_of, record_of
from api.json_body import JsonRoute
from api.openapi import READS, REPLAYED, WRITES, problems, success
from api.operating import asked_by
from api.schemas import Amount, Memo, RuleBody
from api.security import Operator
from api.views import View
from domain.contracts.write_offs import NewWriteOff, WriteOff, WriteOffState
from domain.errors import CannotApprove, CannotWriteOff, Forbidden, IdempotencyKeyReused, InvalidCursor, NotFound
from domain.ids import TransactionId, WalletId

router: Final = APIRouter(route_class=JsonRoute, tags=["operators"])
log = structlog.get_logger("api.audit")


class WriteOffBody(RuleBody):
    """At most how much of a wallet's debt is to be written off, all of it if nothing is said, and why."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"amount": 30000, "evidence": "Insolvency, case 12 IN 345/26", "reason": "Nothing will come"}
        }
    )

    amount: Amount | None = None
    evidence: Annotated[Memo, Field(min_length=1)]


class WriteOffView(View):
    """A write-off as it is now. `amount` is the most that is written off, `written_off` what was; minor units."""

    write_off_id: TransactionId
    wallet_id: WalletId
    amount: int
    currency: str
    state: WriteOffState = Field(description="`asked` until another operator approves it or one withdraws it.")
    by: str = Field(examples=["operator:2f6c4c0b8a1d9e37"])
    reason: str
    evidence: str
    written_off: int | None = None
    ended_by: str | None = None
    note: str | None = Field(default=None, description="Why it was approved, or withdrawn.")
    created_at: datetime


class WriteOffPageView(View):
    """A page of write-offs, oldest first; no `next_cursor` on the last."""

    write_offs: list[WriteOffView]
    next_cursor: str | None = None


@router.post(
    "/v1/wallets/{wallet_id}/write-offs",
    status_code=201,
    response_model=WriteOffView,
    responses={
        **success(201, "It waits for another operator; nothing has moved.", REPLAYED),
        **problems((*WRITES, NotFound, IdempotencyKeyReused, CannotWriteOff)),
    },
    summary="Ask to write off what a wallet owes (operators)",
)
async def ask_write_off(
    wallet_id: WalletId, body: WriteOffBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """It happens when another operator approves it."""
    chosen = demand_key(key, body)
    fingerprint = fingerprint_of("/v1/wallets/write-offs", body)
    asked = await backends.ledger.ask_write_off(
        NewWriteOff(
            wallet_id=wallet_id,
            minor_units=body.amount,
            by=asked_by(caller),
            reason=body.reason,
            evidence=body.evidence,
            key=record_of(caller.client_id, wallet_id, chosen, fingerprint),
        )
    )
    _note("asked", asked, asked_by(caller))
    return answer(_view(asked), status=201, replayed=asked.replayed)


@router.get(
    "/v1/write-offs",
    response_model=WriteOffPageView,
    responses={**success(200, "A page of them."), **problems((*READS, Forbidden, InvalidCursor))},
    summary="List write-offs (operators)",
)
async def list_write_offs(
    caller: Operator,
    backends: Reach,
    *,
    wallet_id: Annotated[WalletId | None, Query(description="Those of this wallet.")] = None,
    waiting: Annotated[bool, Query(description="Only those that wait for approval.")] = False,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Of all clients, oldest first."""
    after = read_write_offs_cursor(cursor) if cursor is not None else None
    found = await backends.ledger.write_offs(wallet_id, waiting=waiting, after=after, limit=limit + 1)
    more = write_offs_cursor(found[limit - 1].write_off_id) if len(found) > limit else None
    return answer(WriteOffPageView(write_offs=[_view(each) for each in found[:limit]], next_cursor=more))


@router.post(
    "/v1/write-offs/{write_off_id}/approve",
    response_model=WriteOffView,
    responses={**success(200, "It is written off."), **problems((*WRITES, NotFound, CannotApprove))},
    summary="Approve the write-off of a debt (operators)",
)
async def approve_write_off(
    write_off_id: TransactionId, body: ApproveBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """With another key than that of who asked for it. What is still owed of it is ours to bear, and the wallet pays
    again where it owes no more. Approving twice is the same as once."""
    demand_key(key, body)
    done = await backends.ledger.approve_write_off(write_off_id, asked_by(caller), body.reason)
    return await _ended(backends, done, "approved", asked_by(caller))


@router.post(
    "/v1/write-offs/{write_off_id}/withdraw",
    response_model=WriteOffView,
    responses={**success(200, "Nobody can approve it any more."), **problems((*WRITES, NotFound, CannotApprove))},
    summary="Withdraw the write-off of a debt that nobody has approved (operators)",
)
async def withdraw_write_off(
    write_off_id: TransactionId, body: ApproveBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """Any operator may. Withdrawing twice is the same as once."""
    demand_key(key, body)
    done = await backends.ledger.withdraw_write_off(write_off_id, asked_by(caller), body.reason)
    return await _ended(backends, done, "withdrawn", asked_by(caller))


async def _ended(backends: Backends, done: WriteOff, what: str, by: str) -> Response:
    await backends.balances.forget(done.wallet_id)
    _note(what, done, by)
    return answer(_view(done))


def _note(what: str, write_off: WriteOff, by: str) -> None:
    log.info("write_off.told", what=what, write_off_id=write_off.write_off_id, wallet_id=write_off.wallet_id, by=by)


def _view(found: WriteOff) -> WriteOffView:
    return WriteOffView(
        write_off_id=found.write_off_id,
        wallet_id=found.wallet_id,
        amount=found.amount.minor_units,
        currency=found.amount.currency,
        state=found.state,
        by=found.by,
        reason=found.reason,
        evidence=found.evidence,
        written_off=found.written_off,
        ended_by=found.ended_by,
        note=found.note,
        created_at=found.created_at,
    )
