"""What tests, demonstrations and the customer call: approving links, accounts, faults, totals. It never misbehaves."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from bank_adapters.simulator import books, faults, links, returns, settlement
from bank_adapters.simulator.books import Account, AccountKind
from bank_adapters.simulator.database import Session, set_clock, to_micros, to_moment
from bank_adapters.simulator.faults import Fault
from bank_adapters.simulator.models import (
    AccountsView,
    AccountView,
    AdvanceRequest,
    ApprovalView,
    ApproveRequest,
    BooksView,
    ClockRequest,
    ClockView,
    CountView,
    FaultRequest,
    FaultsView,
    FaultView,
    Health,
    PaymentView,
    ProblemView,
    ReturnRequest,
    ReturnView,
    StatusRequest,
    TotalsView,
)
from bank_adapters.simulator.problems import AccountUnknown, FaultUnknown
from bank_adapters.simulator.records import Payment, Return, counts
from bank_adapters.simulator.returns import ReturnOrder
from bank_adapters.simulator.routes_banking import GONE, NOT_FOUND, DeskHere

router = APIRouter(tags=["administration"])


@router.get("/livez")
async def livez() -> Health:
    """The process answers."""
    return Health()


@router.post(
    "/v1/link-tokens/{link_token}/approve",
    status_code=status.HTTP_201_CREATED,
    responses={**NOT_FOUND, **GONE},
)
async def approve(desk: DeskHere, link_token: str, body: ApproveRequest) -> ApprovalView:
    """The user says yes, with a new account or (`account_id`) one they have."""

    def work(session: Session) -> ApprovalView:
        account = _chosen(session, body)
        public_token = links.approve(session, link_token, account)
        return ApprovalView(public_token=public_token, account_id=account.account_id, mask=account.mask)

    return await desk.database.run(work)


@router.get("/v1/accounts")
async def list_accounts(
    desk: DeskHere,
    cursor: Annotated[str, Query(max_length=64)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AccountsView:
    """Customers' accounts, by id."""
    found = await desk.database.run(lambda session: books.customers(session, cursor, limit + 1))
    page = [AccountView.model_validate(account) for account in found[:limit]]
    return AccountsView(accounts=page, next_cursor=page[-1].account_id if len(found) > limit else None)


@router.get("/v1/accounts/{account_id}", response_model=AccountView, responses=NOT_FOUND)
async def read_account(desk: DeskHere, account_id: str) -> Account:
    """A customer's account, by its id or by an account token that opens it."""
    return _known(await desk.database.run(lambda session: _find(session, account_id)))


@router.put("/v1/accounts/{account_id}/status", response_model=AccountView, responses=NOT_FOUND)
async def set_account_status(desk: DeskHere, account_id: str, body: StatusRequest) -> Account:
    """Open, freeze or close a customer's account."""
    return _known(await desk.database.run(lambda session: books.set_status(session, account_id, body.status)))


@router.post("/v1/payments/{reference}/correction", responses=NOT_FOUND)
async def correct(desk: DeskHere, reference: str) -> CountView:
    """The bank notices now that it made this payment twice, and undoes the second."""
    return CountView(count=await desk.database.run(lambda session: settlement.correct(session, reference)))


@router.post("/v1/payments/{reference}/settlement", response_model=PaymentView, responses=NOT_FOUND)
async def settle_now(desk: DeskHere, reference: str) -> Payment:
    """An accepted payment settles now, whatever the time."""
    return await desk.database.run(lambda session: settlement.settle_now(session, reference))


@router.post(
    "/v1/payments/{reference}/return",
    status_code=status.HTTP_201_CREATED,
    response_model=ReturnView,
    responses={**NOT_FOUND, 409: {"model": ProblemView, "description": "It does not come back."}},
)
async def give_back(desk: DeskHere, reference: str, body: ReturnRequest) -> Return:
    """A settled payment comes back; each call is a return of its own."""
    order = ReturnOrder(reference=reference, **dict(body))
    return await desk.database.run(lambda session: returns.give_back(session, order))


@router.get("/v1/clock")
async def read_clock(desk: DeskHere) -> ClockView:
    """The bank's business time."""
    return await desk.database.run(_clock)


@router.put("/v1/clock")
async def put_clock(desk: DeskHere, body: ClockRequest) -> ClockView:
    """Jump to a time; what falls due by then has happened on time."""
    await desk.database.run(lambda session: set_clock(session, to_micros(body.at)))
    return await desk.database.run(_clock)


@router.post("/v1/clock/advance")
async def advance_clock(desk: DeskHere, body: AdvanceRequest) -> ClockView:
    """Let time pass."""
    micros = round(body.seconds * 1_000_000)
    await desk.database.run(lambda session: set_clock(session, session.now + micros))
    return await desk.database.run(_clock)


@router.delete("/v1/clock")
async def reset_clock(desk: DeskHere) -> ClockView:
    """The machine's time again."""
    await desk.database.run(lambda session: set_clock(session, None))
    return await desk.database.run(_clock)


@router.get("/v1/books")
async def read_books(desk: DeskHere) -> BooksView:
    """Totals to compare with ours, and whether the bank's own sums are zero."""

    def work(session: Session) -> BooksView:
        totals = books.totals(session)
        return BooksView(
            balanced=all(total.balance_sum == total.entry_sum == 0 for total in totals),
            totals=[TotalsView.model_validate(total) for total in totals],
            payments=counts(session),
        )

    return await desk.database.run(work)


@router.post("/v1/faults", status_code=status.HTTP_201_CREATED, response_model=FaultView, responses=NOT_FOUND)
async def add_fault(desk: DeskHere, body: FaultRequest) -> Fault:
    """Misbehave from now on."""

    def work(session: Session) -> Fault:
        account = _known(_find(session, body.account)) if body.account is not None else None
        return faults.add(
            session,
            kind=body.kind,
            operation=body.operation,
            account_id=account.account_id if account else None,
            code=body.code,
            seconds=body.seconds,
            times=body.times,
        )

    return await desk.database.run(work)


@router.get("/v1/faults")
async def list_faults(desk: DeskHere) -> FaultsView:
    """All faults, spent ones too, until they are removed."""
    found = await desk.database.run(faults.active_and_spent)
    return FaultsView(faults=[FaultView.model_validate(fault) for fault in found])


@router.delete("/v1/faults")
async def clear_faults(desk: DeskHere) -> CountView:
    """Behave again."""
    return CountView(count=await desk.remove_faults(None))


@router.delete("/v1/faults/{fault_id}", responses=NOT_FOUND)
async def remove_fault(desk: DeskHere, fault_id: int) -> CountView:
    """End one fault."""
    count = await desk.remove_faults(fault_id)
    if not count:
        raise FaultUnknown
    return CountView(count=count)


def _clock(session: Session) -> ClockView:
    return ClockView(now=to_moment(session.now), ahead_seconds=session.ahead / 1_000_000)


def _chosen(session: Session, body: ApproveRequest) -> Account:
    if body.account_id is None:
        return books.open_customer(session, body.holder_name, body.opening_balance, body.currency)
    return _known(books.find_account(session, body.account_id))


def _find(session: Session, account_id_or_token: str) -> Account | None:
    return books.find_account(session, account_id_or_token) or links.account_behind(session, account_id_or_token)


def _known(account: Account | None) -> Account:
    if account is None or account.kind is not AccountKind.CUSTOMER:
        raise AccountUnknown
    return account
