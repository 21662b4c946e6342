"""The words of `sagapay write-off`. What they do is imported when it is used: no role pays for their start."""

from typing import Annotated

import typer
from rich.console import Console

from commands.attention_cli import Key, Url, Why, operating

write_offs = typer.Typer(
    no_args_is_help=True, help="Debts that will not be paid: two operators write one off, through the operators' API."
)
_console = Console()

AtMost = Annotated[int | None, typer.Option(min=1, help="At most so many minor units; left out, all it owes.")]


@write_offs.command("ask")
def ask_write_off(
    wallet_id: str,
    *,
    key: Key,
    why: Why,
    evidence: Annotated[str, typer.Option(help="How it can be proved that nothing more will come.")],
    amount: AtMost = None,
    url: Url = None,
) -> None:
    """Ask to write off what a wallet owes; another operator approves."""
    from commands.write_offs import ask

    body: dict[str, str | int] = {"reason": why, "evidence": evidence}
    if amount is not None:
        body["amount"] = amount
    operating(url, key, lambda api: ask(api, _console, wallet_id, body))


@write_offs.command("approve")
def approve_write_off(write_off_id: str, key: Key, why: Why, url: Url = None) -> None:
    """Approve what another operator has asked for."""
    from commands.write_offs import end

    operating(url, key, lambda api: end(api, _console, write_off_id, "approve", why))


@write_offs.command("withdraw")
def withdraw_write_off(write_off_id: str, key: Key, why: Why, url: Url = None) -> None:
    """Let nobody approve it any more."""
    from commands.write_offs import end

    operating(url, key, lambda api: end(api, _console, write_off_id, "withdraw", why))


@write_offs.command("list")
def list_write_offs(
    *,
    key: Key,
    wallet: Annotated[str | None, typer.Option(help="Those of this wallet.")] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that wait for approval.")] = False,
    url: Url = None,
) -> None:
    """Show what was asked for, and what became of it."""
    from commands.write_offs import show_list

    filters: dict[str, str | int] = {"waiting": str(waiting).lower()}
    if wallet is not None:
        filters["wallet_id"] = wallet
    operating(url, key, lambda api: show_list(api, _console, filters))
