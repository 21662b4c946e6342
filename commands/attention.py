"""`sagapay attention`: the payments that need a person, through the operators' API; one by one, and many at once."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from domain.errors import InvalidRequest, SagapayError, WorkflowsUnavailable
from domain.money import format_minor

PAGE: Final = 200
_TIMEOUT_SECONDS: Final = 60

Parked = dict[str, Any]


class CallRefused(SagapayError):
    """The API refused the call."""

    code = "call_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which payments: one by its id, or all that a filter finds."""

    transaction_id: str | None = None
    filters: Mapping[str, str | int]

    def demand_some(self) -> None:
        """Raises InvalidRequest where neither an id nor a filter says which."""
        if (self.transaction_id is None) == (not self.filters):
            raise InvalidRequest("Say which: a transaction's id, or a filter such as --bank or --reason.")


class OperatorsApi:
    """The calls of the operators' API that this command makes."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def parked(self, filters: Mapping[str, str | int]) -> AsyncIterator[Parked]:
        """Every parked payment that the filters let through, page by page."""
        cursor: dict[str, str] = {}
        while True:
            page = await self._call("GET", "/v1/attention", params={**filters, "limit": PAGE, **cursor})
            for payment in page["payments"]:
                yield payment
            if "next_cursor" not in page:
                return
            cursor = {"cursor": page["next_cursor"]}

    async def one(self, transaction_id: str) -> Parked:
        """One payment, with what was told it."""
        return await self._call("GET", f"/v1/attention/{transaction_id}")

    async def tell(self, transaction_id: str, call: str, body: Mapping[str, str]) -> Parked:
        """Retry, resolve or force it, or approve that."""
        headers = {"Idempotency-Key": uuid4().hex}
        return await self._call("POST", f"/v1/attention/{transaction_id}/{call}", json=dict(body), headers=headers)

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
    """Print the parked payments that the filters let through. Raises CallRefused."""
    table = Table("transaction", "kind", "amount", "bank", "step", "reason", "since")
    async for payment in api.parked(filters):
        table.add_row(*_line(payment))
    console.print(table)
    console.print(f"{table.row_count} need a person")


async def show_one(api: OperatorsApi, console: Console, transaction_id: str) -> None:
    """Print one payment and what operators told it. Raises CallRefused."""
    found = await api.one(transaction_id)
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
    """Tell one payment, or all that a filter finds; whether none refused. A dry run only prints which.

    Raises InvalidRequest and CallRefused.
    """
    wanted.demand_some()
    payments = (
        [await api.one(wanted.transaction_id)]
        if wanted.transaction_id is not None
        else [payment async for payment in api.parked(wanted.filters)]
    )
    if dry_run:
        table = Table("transaction", "kind", "amount", "bank", "step", "reason", "since")
        for payment in payments:
            table.add_row(*_line(payment))
        console.print(table)
        console.print(f"{call}: {len(payments)} payments; nothing was told them")
        return True
    refused = 0
    with Progress(console=console, transient=True) as progress:
        for payment in progress.track(payments, description=call):
            try:
                await api.tell(payment["transaction_id"], call, body)
            except CallRefused as error:
                refused += 1
                console.print(f"{payment['transaction_id']}: [red]{error.detail}[/]", soft_wrap=True)
    console.print(f"{call}: {len(payments) - refused} told, {refused} refused")
    return refused == 0


async def propose(api: OperatorsApi, console: Console, transaction_id: str, body: Mapping[str, str]) -> None:
    """Propose a force, and print how another operator approves it. Raises CallRefused."""
    action = await api.tell(transaction_id, "force", body)
    console.print(f"{action['action_id']} is proposed. Another operator approves it:", soft_wrap=True)
    console.print(f"sagapay attention approve {transaction_id} {action['action_id']} --why …", soft_wrap=True)


async def approve(api: OperatorsApi, console: Console, transaction_id: str, action_id: str, why: str) -> None:
    """Approve what another operator has proposed. Raises CallRefused."""
    action = await api.tell(transaction_id, f"force/{action_id}/approve", {"reason": why})
    console.print(f"{action['action_id']} is {action['state']}", soft_wrap=True)


def _line(payment: Parked) -> list[str]:
    attention = payment.get("attention", {})
    return [
        payment["transaction_id"],
        payment["kind"],
        format_minor(payment["amount"], payment["currency"]),
        payment.get("bank", "none"),
        attention.get("step", "not parked"),
        attention.get("reason", ""),
        attention.get("since", ""),
    ]
