"""POST /v1/bank-events/{bank}: what banks send by themselves. Stored, answered, and only then acted on."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel
from starlette.background import BackgroundTask
from temporalio.service import RPCError

from api.answers import answer
from api.backends import Backends, Reach
from api.openapi import problems, success
from bank_adapters.notices import NotifyingBank
from domain.errors import (
    BankEventRefused,
    BodyTooLarge,
    InternalError,
    InvalidRequest,
    LedgerBusy,
    LedgerUnavailable,
    UnknownBank,
    WorkflowsUnavailable,
)
from ledger.bank_events import NewEvent

router: Final = APIRouter(tags=["banks"])

_PATIENCE_SECONDS: Final = 5.0
_ERRORS: Final = (
    InvalidRequest,
    UnknownBank,
    BankEventRefused,
    BodyTooLarge,
    InternalError,
    LedgerUnavailable,
    LedgerBusy,
)

log = structlog.get_logger("api")


class BankEventView(BaseModel):
    """The event is stored; `duplicate` says that it was before."""

    event_id: str
    duplicate: bool


@router.post(
    "/v1/bank-events/{bank}",
    status_code=202,
    response_model=BankEventView,
    responses={**success(202, "The event is stored."), **problems(_ERRORS)},
    summary="Take an event that a bank sends",
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": {"type": "object", "properties": {}}}}}},
)
async def take_bank_event(
    bank: Annotated[str, Path(pattern="^[a-z][a-z0-9_-]{0,31}$")], request: Request, backends: Reach
) -> Response:
    """For banks, which prove by a signature who they are; how is each adapter's own. Sent again, it is a duplicate."""
    adapter, body = backends.bank(bank), await request.body()
    if not isinstance(adapter, NotifyingBank):
        raise BankEventRefused("This bank is not one that sends events.")
    notice = adapter.read_notice(request.headers, body, datetime.now(UTC))
    event = NewEvent(
        bank=bank,
        event_id=notice.event_id,
        type=notice.type,
        reference=notice.reference,
        occurred_at=notice.occurred_at,
        body=body.decode(errors="replace"),
    )
    new = await backends.bank_events.store(event)
    response = answer(BankEventView(event_id=event.event_id, duplicate=not new), 202)
    if new:
        response.background = BackgroundTask(_act_soon, backends)
    return response


async def _act_soon(backends: Backends) -> None:
    """Have what is stored acted on now. Where that fails, the schedule does it a little later."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await backends.handle_bank_events()
    except (TimeoutError, WorkflowsUnavailable, RPCError, RuntimeError) as error:
        log.warning("bank_event.waits_for_the_schedule", error=str(error))
