"""What the platform calls: linking, pulls, pushes, look-ups, the statement. All of it can be told to misbehave."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response, status
from pydantic import AwareDatetime

from bank_adapters.simulator import links, micro_deposits, payments, statement
from bank_adapters.simulator.database import Session, to_micros, to_moment
from bank_adapters.simulator.desk import Desk
from bank_adapters.simulator.faults import FaultKind, Operation, Taken, Whose
from bank_adapters.simulator.models import (
    ExchangeRequest,
    ExchangeView,
    LinkTokenRequest,
    LinkTokenView,
    MicroDepositsRequest,
    MicroDepositsView,
    PaymentRequest,
    PaymentView,
    ProblemView,
    Reference,
    StatementQuery,
    StatementView,
)
from bank_adapters.simulator.problems import PaymentNotSeen
from bank_adapters.simulator.records import Direction, Order, Payment, State, find

MAX_MICROS = 2**62


async def the_desk(request: Request) -> Desk:
    """The desk of the running application."""
    desk: Desk = request.app.state.desk
    return desk


DeskHere = Annotated[Desk, Depends(the_desk)]
ValidUntil = Annotated[
    AwareDatetime | None,
    Header(
        alias="X-Valid-Until",
        description="Do not start a new payment after this time. Once it has passed, a reference that was not seen "
        "will never be, which is what makes 'never seen' certain.",
    ),
]

router = APIRouter(
    prefix="/v1",
    tags=["banking"],
    responses={
        500: {"model": ProblemView, "description": "The bank broke; the request may have been processed."},
        503: {"model": ProblemView, "description": "Not processed, says the header X-Not-Processed."},
        504: {"model": ProblemView, "description": "No answer in time; the request may have been processed."},
    },
)
NOT_FOUND: dict[int | str, dict[str, object]] = {404: {"model": ProblemView, "description": "Unknown."}}
GONE: dict[int | str, dict[str, object]] = {410: {"model": ProblemView, "description": "Expired."}}
REPLAYED: dict[int | str, dict[str, object]] = {
    200: {"model": PaymentView, "description": "The reference was known already; this is its payment."},
    409: {"model": ProblemView, "description": "The reference was used with another body."},
}


@router.post("/link-tokens", status_code=status.HTTP_201_CREATED, response_model=LinkTokenView)
async def create_link_token(desk: DeskHere, body: LinkTokenRequest) -> LinkTokenView:
    """Begin to link an account."""
    (token, expires_at), _ = await desk.serve(
        Operation.LINK, _nobody, lambda session: links.begin(session, body.user_reference)
    )
    return LinkTokenView(link_token=token, expires_at=to_moment(expires_at))


@router.post("/exchanges", response_model=ExchangeView, responses={**NOT_FOUND, **GONE})
async def exchange(desk: DeskHere, body: ExchangeRequest) -> ExchangeView:
    """Finish linking. Repeatable while the token lives, so that a lost answer can be asked for again."""
    link, _ = await desk.serve(Operation.LINK, _nobody, lambda session: links.exchange(session, body.public_token))
    return ExchangeView(
        account_token=link.account_token,
        user_reference=link.user_reference,
        mask=link.account.mask,
        holder_name=link.account.holder_name,
        currency=link.account.currency,
    )


@router.post("/micro-deposits", status_code=status.HTTP_201_CREATED, responses=NOT_FOUND)
async def send_micro_deposits(desk: DeskHere, body: MicroDepositsRequest) -> MicroDepositsView:
    """Link by number: send two small amounts, and take them back. Repeatable by reference."""
    sent, _ = await desk.serve(
        Operation.LINK, _nobody, lambda session: micro_deposits.send(session, **body.model_dump())
    )
    return MicroDepositsView.model_validate(sent)


@router.post("/pulls", status_code=status.HTTP_201_CREATED, response_model=PaymentView, responses=REPLAYED)
async def pull(desk: DeskHere, response: Response, body: PaymentRequest, valid_until: ValidUntil = None) -> Payment:
    """Move money from the customer's account to Sagapay's. 200 where the reference is known already."""
    return await _receive(desk, response, _order(Direction.PULL, body, valid_until))


@router.post("/pushes", status_code=status.HTTP_201_CREATED, response_model=PaymentView, responses=REPLAYED)
async def push(desk: DeskHere, response: Response, body: PaymentRequest, valid_until: ValidUntil = None) -> Payment:
    """Move money from Sagapay's account to the customer's. 200 where the reference is known already."""
    return await _receive(desk, response, _order(Direction.PUSH, body, valid_until))


@router.get("/payments/{reference}", response_model=PaymentView, responses=NOT_FOUND)
async def look_up(desk: DeskHere, reference: Annotated[Reference, Path()]) -> Payment:
    """Has the bank seen this reference, and what became of it?"""
    payment, taken = await desk.serve(
        Operation.LOOK_UP, _account_of(reference), lambda session: find(session, reference)
    )
    if payment is None:
        raise PaymentNotSeen
    return _as_told(payment, taken)


@router.post("/payments/{reference}/cancellation", response_model=PaymentView, responses=NOT_FOUND)
async def cancel(desk: DeskHere, reference: Annotated[Reference, Path()]) -> Payment:
    """Take a payment back while its batch is open; answers what became of it."""
    payment, taken = await desk.serve(
        Operation.CANCEL, _account_of(reference), lambda session: payments.cancel(session, reference)
    )
    if payment is None:
        raise PaymentNotSeen
    return _as_told(payment, taken)


@router.get("/statement", response_model=StatementView)
async def read_statement(
    desk: DeskHere, query: Annotated[StatementQuery, Query()]
) -> dict[str, list[statement.Line] | int | None]:
    """Every line of Sagapay's settlement accounts, in order, with the balance after it."""
    lines, _ = await desk.serve(
        Operation.STATEMENT,
        _nobody,
        lambda session: statement.lines(
            session,
            query.currency,
            since=query.since,
            booked_from=to_micros(query.booked_from) if query.booked_from else 0,
            booked_until=to_micros(query.booked_until) if query.booked_until else MAX_MICROS,
            limit=query.limit + 1,
        ),
    )
    page = lines[: query.limit]
    return {"lines": page, "next_cursor": page[-1].line if len(lines) > query.limit else None}


def _nobody(_session: Session) -> None:
    return None


def _account_of(reference: str) -> Whose:
    def whose(session: Session) -> str | None:
        payment = find(session, reference)
        return payment.account_id if payment else None

    return whose


def _order(direction: Direction, body: PaymentRequest, valid_until: AwareDatetime | None) -> Order:
    return Order(
        direction=direction,
        reference=body.reference,
        account_token=body.account_token,
        amount=body.amount,
        currency=body.currency,
        rail=body.rail,
        memo=body.memo,
        valid_until=to_micros(valid_until) if valid_until else None,
    )


async def _receive(desk: Desk, response: Response, order: Order) -> Payment:
    def whose(session: Session) -> str | None:
        account = links.account_behind(session, order.account_token)
        return account.account_id if account else None

    (payment, new), taken = await desk.serve(
        Operation(order.direction), whose, lambda session: payments.receive(session, order)
    )
    if not new:
        response.status_code = status.HTTP_200_OK
    return _as_told(payment, taken)


def _as_told(payment: Payment, taken: Taken) -> Payment:
    # Notices out of order: a settled payment is told as accepted and an accepted one as settled, as by a bank whose
    # answers come from copies that are behind, or whose notices overtake each other.
    if FaultKind.WRONG_ORDER not in taken or payment.state not in (State.ACCEPTED, State.SETTLED):
        return payment
    if payment.state is State.SETTLED:
        return replace(payment, state=State.ACCEPTED, settled_at=None)
    return replace(payment, state=State.SETTLED, settled_at=payment.settles_at)
