"""The words of `sagapay attention`. What they do is imported when it is used: no role pays for their start."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from commands.attention import OperatorsApi

attention = typer.Typer(
    no_args_is_help=True, help="What needs a person: payments, batches and returns, through the operators' API."
)
_console = Console()

Key = Annotated[str, typer.Option(envvar="SAGAPAY_OPERATOR_KEY", help="Your API key of scope operator.")]
Url = Annotated[str | None, typer.Option(help="The API; by default the local one.")]
Why = Annotated[str, typer.Option(help="Why; recorded with who you are.")]
Parked = Annotated[str | None, typer.Argument(help="txn_…, tb_… or return:…, or a filter instead")]
Resolved = Annotated[str | None, typer.Argument(help="txn_… or return:…, or a filter instead")]
Forced = Annotated[str, typer.Argument(help="txn_… or return:…")]
ByReason = Annotated[str | None, typer.Option(help="Those parked for this reason, such as bank_unavailable.")]
ByStep = Annotated[str | None, typer.Option(help="Those parked at this step, such as push_to_bank.")]
ByBank = Annotated[str | None, typer.Option(help="Those of this bank.")]
ByAge = Annotated[int | None, typer.Option("--older-than", help="Those parked for at least so many seconds.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print which.")]
Outcome = Annotated[str, typer.Argument(help="paid, settled or not_paid; written_off, of a return")]
Resolution = Annotated[
    str, typer.Argument(help="paid, settled or not_paid; corrected, of a return that is no payment's")
]


def operating(url: str | None, key: str, work: Callable[["OperatorsApi"], Awaitable[bool | None]]) -> None:
    """Do it with the operators' API; the command's exit says whether it went well."""
    from commands.attention import operators_api
    from infra.local.joining import joined_settings

    async def run() -> bool:
        at = url
        if at is None:
            here = joined_settings()
            at = f"http://{here.api_host}:{here.api_port}"
        async with operators_api(at, key) as api:
            return await work(api) is not False

    raise typer.Exit(0 if asyncio.run(run()) else 1)


def _filters(reason: str | None, step: str | None, bank: str | None, age: int | None) -> dict[str, str | int]:
    given = {"reason": reason, "step": step, "bank": bank, "older_than_seconds": age}
    return {name: value for name, value in given.items() if value is not None}


@attention.command("list")
def list_attention(
    *, key: Key, reason: ByReason = None, step: ByStep = None, bank: ByBank = None, age: ByAge = None, url: Url = None
) -> None:
    """Show the payments, batches and returns that need a person."""
    from commands import attention as commands

    operating(url, key, lambda api: commands.show_list(api, _console, _filters(reason, step, bank, age)))


@attention.command("show")
def show_attention(
    named: Annotated[str, typer.Argument(help="txn_…, tb_… or return:…")], key: Key, url: Url = None
) -> None:
    """Show a payment and what operators told it, or a batch or a return."""
    from commands import attention as commands

    operating(url, key, lambda api: commands.show_one(api, _console, named))


@attention.command("retry")
def retry_attention(
    *,
    key: Key,
    why: Why,
    named: Parked = None,
    reason: ByReason = None,
    step: ByStep = None,
    bank: ByBank = None,
    age: ByAge = None,
    url: Url = None,
    dry_run: DryRun = False,
) -> None:
    """Try one again now, or all that a filter finds; exit 1 if one refused."""
    from commands import attention as commands

    wanted = commands.Wanted(named=named, filters=_filters(reason, step, bank, age))
    operating(url, key, lambda api: commands.tell(api, _console, wanted, "retry", {"reason": why}, dry_run=dry_run))


@attention.command("resolve")
def resolve_attention(
    outcome: Resolution,
    named: Resolved = None,
    *,
    key: Key,
    why: Why,
    evidence: Annotated[str, typer.Option(help="How it can be proved what the bank said.")],
    reason: ByReason = None,
    step: ByStep = None,
    bank: ByBank = None,
    age: ByAge = None,
    url: Url = None,
    dry_run: DryRun = False,
) -> None:
    """Say what the bank did with one, or with all that a filter finds; exit 1 if one refused."""
    from commands import attention as commands

    wanted = commands.Wanted(named=named, filters=_filters(reason, step, bank, age))
    body = {"outcome": outcome, "evidence": evidence, "reason": why}
    operating(url, key, lambda api: commands.tell(api, _console, wanted, "resolve", body, dry_run=dry_run))


@attention.command("force")
def force_attention(outcome: Outcome, named: Forced, key: Key, why: Why, url: Url = None) -> None:
    """Propose to end a payment against what the bank says, or to write a return off; another operator approves."""
    from commands import attention as commands

    body = {"outcome": outcome, "reason": why}
    operating(url, key, lambda api: commands.propose(api, _console, named, body))


@attention.command("approve")
def approve_attention(named: Forced, action_id: str, key: Key, why: Why, url: Url = None) -> None:
    """Approve what another operator has proposed."""
    from commands import attention as commands

    operating(url, key, lambda api: commands.approve(api, _console, named, action_id, why))
