"""A typed client of the bank's administration, for demonstrations and tests. The platform itself never uses it."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import BaseModel

from bank_adapters.simulator.books import AccountStatus
from bank_adapters.simulator.faults import FaultKind, Operation
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
    PaymentView,
    ReturnRequest,
    ReturnView,
    TotalsView,
)
from bank_adapters.simulator.records import Direction

View = TypeVar("View", bound=BaseModel)


class BankRefused(Exception):
    """The bank's administration did not do it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class BankAdmin:
    """Approve links, set faults, read balances. Raises BankRefused, or httpx.TransportError if there is no bank."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give back the connections."""
        await self._client.aclose()

    async def approve(
        self,
        link_token: str,
        *,
        holder_name: str = "A customer",
        opening_balance: int = 0,
        currency: str = "USD",
        account_id: str | None = None,
    ) -> ApprovalView:
        """Say yes as the user would, with a new account (opening balance in minor units) or an existing one."""
        body = ApproveRequest(
            holder_name=holder_name, opening_balance=opening_balance, currency=currency, account_id=account_id
        )
        return await self._call(ApprovalView, "POST", f"/v1/link-tokens/{link_token}/approve", body)

    async def set_fault(
        self,
        kind: FaultKind,
        *,
        operation: Operation = Operation.ANY,
        account: str | None = None,
        times: int | None = None,
        code: str | None = None,
        seconds: float | None = None,
    ) -> FaultView:
        """Misbehave from now on: towards one account (its id or a token) or all, `times` times or until removed."""
        body = FaultRequest(kind=kind, operation=operation, account=account, times=times, code=code, seconds=seconds)
        return await self._call(FaultView, "POST", "/v1/faults", body)

    async def faults(self) -> list[FaultView]:
        """All faults that were not removed, with how often each has struck."""
        return (await self._call(FaultsView, "GET", "/v1/faults")).faults

    async def remove_fault(self, fault_id: int) -> None:
        """End one fault."""
        await self._call(CountView, "DELETE", f"/v1/faults/{fault_id}")

    async def clear_faults(self) -> int:
        """Behave again. Returns how many faults ended."""
        return (await self._call(CountView, "DELETE", "/v1/faults")).count

    async def account(self, account_id_or_token: str) -> AccountView:
        """A customer's account, by id or account token."""
        return await self._call(AccountView, "GET", f"/v1/accounts/{account_id_or_token}")

    async def accounts(self) -> AsyncIterator[AccountView]:
        """All customers' accounts, by id."""
        cursor: str | None = ""
        while cursor is not None:
            page = await self._call(AccountsView, "GET", f"/v1/accounts?cursor={cursor}&limit=1000")
            for account in page.accounts:
                yield account
            cursor = page.next_cursor

    async def set_account_status(self, account_id: str, status: AccountStatus) -> AccountView:
        """Open, freeze or close a customer's account."""
        response = await self._client.put(f"/v1/accounts/{account_id}/status", json={"status": status})
        return _read(AccountView, response)

    async def correct(self, reference: str) -> int:
        """Let the bank notice that it made a payment twice. Returns how many it undoes."""
        return (await self._call(CountView, "POST", f"/v1/payments/{reference}/correction")).count

    async def settle_now(self, reference: str) -> PaymentView:
        """Let an accepted payment settle, whatever the time at the bank."""
        return await self._call(PaymentView, "POST", f"/v1/payments/{reference}/settlement")

    async def give_back(
        self,
        reference: str,
        code: str,
        amount: int | None = None,
        *,
        currency: str = "USD",
        invented: Direction | None = None,
    ) -> ReturnView:
        """Let a settled payment come back: whole or (wrongly) `amount`; again; or one that was never given."""
        body = ReturnRequest(code=code, amount=amount, currency=currency, invented=invented)
        return await self._call(ReturnView, "POST", f"/v1/payments/{reference}/return", body)

    async def clock(self) -> datetime:
        """The bank's business time."""
        return (await self._call(ClockView, "GET", "/v1/clock")).now

    async def set_clock(self, at: datetime) -> datetime:
        """Jump to a time, from which it goes on."""
        return (await self._call(ClockView, "PUT", "/v1/clock", ClockRequest(at=at))).now

    async def advance_clock(self, by: timedelta) -> datetime:
        """Let time pass at the bank."""
        body = AdvanceRequest(seconds=by.total_seconds())
        return (await self._call(ClockView, "POST", "/v1/clock/advance", body)).now

    async def reset_clock(self) -> datetime:
        """The machine's time again."""
        return (await self._call(ClockView, "DELETE", "/v1/clock")).now

    async def books(self) -> BooksView:
        """The totals of each currency, and whether they sum to zero."""
        return await self._call(BooksView, "GET", "/v1/books")

    async def totals(self, currency: str = "USD") -> TotalsView | None:
        """One currency's totals; None before its first account."""
        return next((total for total in (await self.books()).totals if total.currency == currency), None)

    async def _call(self, view: type[View], method: str, path: str, body: BaseModel | None = None) -> View:
        content = body.model_dump(mode="json") if body is not None else None
        return _read(view, await self._client.request(method, path, json=content))


def _read(view: type[View], response: httpx.Response) -> View:
    if not response.is_success:
        raise BankRefused(response.status_code, response.text)
    return view.model_validate_json(response.content)
