"""`sagapay attention`: what needs a person, through the operators' API; one by one, and many at once.

Payments (`txn_…`) can be told everything; batches (`tb_…`) and returns (`return:…`) to try again, and of returns that
are no payment's it can be said that the bank has put them right.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import httpx
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress
from rich.table import Table

from domain.errors import InvalidRequest, SagapayError, WorkflowsUnavailable
from domain.ids import TransactionId
from domain.money import format_minor

PAGE: Final = 200
RETRY: Final = "retry"
CORRECTED: Final = "corrected"
_TIMEOUT_SECONDS: Final = 60

Parked = dict[str, Any]


class CallRefused(SagapayError):
    """The API refused the call."""

    code = "call_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which of them: one by its id, or all that a filter finds."""

    named: str | None = None
    filters: Mapping[str, str | int]

    def demand_some(self) -> None:
        """Raises InvalidRequest where neither an id nor a filter says which."""
        if (self.named is None) == (not self.filters):
            raise InvalidRequest("Say which: an id, or a filter such as --bank or --reason.")


class OperatorsApi:
    """The calls of the operators' API that this command makes."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def payments(self, filters: Mapping[str, str | int]) -> AsyncIterator[Parked]:
        """Every parked payment that the filters let through, page by page."""
        async for payment in self._pages("/v1/attention", "payments", filters):
            yield payment

    async def workflows(self, filters: Mapping[str, str | int]) -> AsyncIterator[Parked]:
        """Every parked batch and return that the filters let through, page by page."""
        async for workflow in self._pages("/v1/attention/workflows", "workflows", filters):
            yield workflow

    async def _pages(self, path: str, noun: str, filters: Mapping[str, str | int]) -> AsyncIterator[Parked]:
        cursor: dict[str, str] = {}
        while True:
            page = await self._call("GET", path, params={**filters, "limit": PAGE, **cursor})
            for item in page[noun]:
                yield item
            if "next_cursor" not in page:
                return
            cursor = {"cursor": page["next_cursor"]}

    async def write_offs(self, filters: Mapping[str, str | int]) -> AsyncIterator[Parked]:
        """Every write-off that the filters let through, page by page."""
        async for write_off in self._pages("/v1/write-offs", "write_offs", filters):
            yield write_off

    async def one(self, named: str) -> Parked:
        """One of them: a payment with what was told it, a batch or a return with what the Temporal UI says of it."""
        return await self._call("GET", _path_of(named))

    async def tell(self, named: str, call: str, body: Mapping[str, str]) -> Parked:
        """Retry, resolve or force it, or approve that."""
        return await self.post(f"{_path_of(named)}/{call}", body)

    async def post(self, path: str, body: Mapping[str, str | int]) -> Parked:
        """Any other call, under a key of its own."""
        headers = {"Idempotency-Key": uuid4().hex}
        return await self._call("POST", path, json=dict(body), headers=headers)

    async def _call(self, method: str, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  -- httpx's
        try:
            response = await self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise WorkflowsUnavailable(f"The API does not answer: {error}") from error
        answer: dict[str, Any] = response.json()
        if response.is_error:
            raise CallRefused(f"{answer['code']}: {answer['detail']}")
        return answer


@asynccontextmanager
async def operators_api(url: str, api_key: str) -> AsyncIterator[OperatorsApi]:
    """The API at `url`, called with an operator's key."""
    headers = {"Authorization": f"Bearer {api_key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False) as http:
        yield OperatorsApi(http)


async def show_list(api: OperatorsApi, console: Console, filters: Mapping[str, str | int]) -> None:
    """Print what is parked and the filters let through. Raises CallRefused."""
    table = _table()
    async for payment in api.payments(filters):
        table.add_row(*_line(payment))
    async for workflow in api.workflows(filters):
        table.add_row(*_line(workflow))
    console.print(table)
    console.print(f"{table.row_count} need a person")


async def show_one(api: OperatorsApi, console: Console, named: str) -> None:
    """Print a payment and what operators told it, or a batch or return and its details. Raises CallRefused."""
    found = await api.one(named)
    if _is_payment(named):
        _show_payment(console, found)
    else:
        console.print(Markdown(found.get("details") or f"{named}: nothing is wrong with it."))


def _show_payment(console: Console, found: Parked) -> None:
    about = Table(show_header=False)
    attention = found.get("attention", {})
    for name, value in {
        "transaction": found["transaction_id"],
        "payment": f"{found['kind']} of {format_minor(found['amount'], found['currency'])}",
        "status": found["status"],
        "bank": found.get("bank", "none"),
        "step": attention.get("step", "not parked"),
        "reason": attention.get("reason", ""),
        "since": attention.get("since", ""),
        "detail": attention.get("detail", ""),
        "workflow": found["workflow_id"],
    }.items():
        about.add_row(name, value)
    console.print(about)
    told = Table("action", "what", "state", "by", "why", "bank says", "evidence")
    for action in found["actions"]:
        said = [action.get(name, "") for name in ("outcome", "evidence")]
        told.add_row(action["action_id"], action["kind"], action["state"], action["by"], action["reason"], *said)
    console.print(told)


async def tell(
    api: OperatorsApi, console: Console, wanted: Wanted, call: str, body: Mapping[str, str], *, dry_run: bool
) -> bool:
    """Tell one, or all that a filter finds; whether none refused. A dry run only prints which.

    A filter finds what can be told so: to try again all of them, that the bank has put them right only returns.

    Raises InvalidRequest and CallRefused.
    """
    wanted.demand_some()
    found = [await api.one(wanted.named)] if wanted.named is not None else await _all(api, wanted, call, body)
    if dry_run:
        table = _table()
        for each in found:
            table.add_row(*_line(each))
        console.print(table)
        console.print(f"{call}: {len(found)} parked; nothing was told them")
        return True
    refused = 0
    with Progress(console=console, transient=True) as progress:
        for each in progress.track(found, description=call):
            try:
                await api.tell(_name_of(each), call, body)
            except CallRefused as error:
                refused += 1
                console.print(f"{_name_of(each)}: [red]{error.detail}[/]", soft_wrap=True)
    console.print(f"{call}: {len(found) - refused} told, {refused} refused")
    return refused == 0


async def _all(api: OperatorsApi, wanted: Wanted, call: str, body: Mapping[str, str]) -> list[Parked]:
    if body.get("outcome") == CORRECTED:
        return [workflow async for workflow in api.workflows(wanted.filters) if workflow["kind"] == "return"]
    found = [payment async for payment in api.payments(wanted.filters)]
    if call == RETRY:
        found += [workflow async for workflow in api.workflows(wanted.filters)]
    return found


async def propose(api: OperatorsApi, console: Console, named: str, body: Mapping[str, str]) -> None:
    """Propose a force, and print how another operator approves it. Raises CallRefused."""
    action = await api.tell(named, "force", body)
    console.print(f"{action['action_id']} is proposed. Another operator approves it:", soft_wrap=True)
    console.print(f"sagapay attention approve {named} {action['action_id']} --why …", soft_wrap=True)


async def approve(api: OperatorsApi, console: Console, named: str, action_id: str, why: str) -> None:
    """Approve what another operator has proposed. Raises CallRefused."""
    action = await api.tell(named, f"force/{action_id}/approve", {"reason": why})
    console.print(f"{action['action_id']} is {action['state']}", soft_wrap=True)


def _table() -> Table:
    return Table("what", "kind", "amount", "bank", "step", "reason", "since")


def _line(found: Parked) -> list[str]:
    attention = found.get("attention", {})
    return [
        _name_of(found),
        found["kind"],
        format_minor(found["amount"], found["currency"]) if "amount" in found else "",
        found.get("bank", "none"),
        attention.get("step", "not parked"),
        attention.get("reason", ""),
        attention.get("since", ""),
    ]


def _name_of(found: Parked) -> str:
    # A payment's workflow has an id, too, by which only Temporal knows it.
    name: str = found["transaction_id"] if "amount" in found else found["workflow_id"]
    return name


def _is_payment(named: str) -> bool:
    return named.startswith(TransactionId.prefix)


def _path_of(named: str) -> str:
    return f"/v1/attention/{named}" if _is_payment(named) else f"/v1/attention/workflows/{named}"
