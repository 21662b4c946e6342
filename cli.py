"""The `sagapay` command. Each command imports what it needs, so that no role pays for the others' start."""

import asyncio
import sys
from typing import Annotated

import typer
from rich.console import Console

from commands.attention_cli import attention
from commands.write_offs_cli import write_offs
from domain.contracts.wallets import ChangeKind, WalletLimits
from domain.errors import SagapayError
from infra.settings import Settings, settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Sagapay: money moves, durably.")
keys = typer.Typer(no_args_is_help=True, help="Clients and their API keys.")
app.add_typer(keys, name="keys")
wallets = typer.Typer(no_args_is_help=True, help="Wallets, and the rules that operators set for them.")
app.add_typer(wallets, name="wallet")
bank_accounts = typer.Typer(no_args_is_help=True, help="Linked bank accounts, and what may move over them.")
app.add_typer(bank_accounts, name="bank-account")
secrets = typer.Typer(no_args_is_help=True, help="Keys of the secrets at rest.")
app.add_typer(secrets, name="secrets")
dead_letters = typer.Typer(no_args_is_help=True, help="Events that a consumer could not process.")
app.add_typer(dead_letters, name="dead-letters")
history = typer.Typer(no_args_is_help=True, help="The history behind a wallet's list of transactions.")
app.add_typer(history, name="history")
app.add_typer(attention, name="attention")
app.add_typer(write_offs, name="write-off")
_console = Console()


def _joined() -> Settings:
    from infra.local.joining import joined_settings

    return joined_settings()


@app.command(rich_help_panel="The whole platform")
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return when everything is ready.")] = False,
) -> None:
    """Start every server and role here; Ctrl-C stops them."""
    from infra.local.supervisor import run_foreground, start_detached

    raise typer.Exit(start_detached() if detach else run_foreground())


@app.command(rich_help_panel="The whole platform")
def down(erase: Annotated[bool, typer.Option("--erase", help="Delete all local data, too.")] = False) -> None:
    """Stop what `up` started."""
    from infra.local.supervisor import stop

    raise typer.Exit(stop(erase=erase))


@app.command(rich_help_panel="The whole platform")
def demo() -> None:
    """Watch a dozen users move money through the REST API of the running platform."""
    from commands.demo.story import tell

    raise typer.Exit(asyncio.run(tell(_joined(), _console)))


@app.command(rich_help_panel="Operators")
def verify(
    banks: Annotated[bool, typer.Option("--banks/--no-banks", help="Compare with the banks' statements.")] = True,
) -> None:
    """Recompute every invariant; exit 1 on the first cent that is off."""
    from commands.verify import verify_all

    raise typer.Exit(0 if asyncio.run(verify_all(_joined(), _console, ask_banks=banks)) else 1)


@app.command(rich_help_panel="Operators")
def shards() -> None:
    """Show the ledger's databases and what they owe each other; exit 1 if one does not answer."""
    from commands.shards import show_shards

    raise typer.Exit(0 if asyncio.run(show_shards(_joined(), _console)) else 1)


@app.command(rich_help_panel="Operators")
def prepare() -> None:
    """Migrate the databases, make partitions, register search attributes, make the development client."""
    from commands.prepare import prepare as make_ready

    asyncio.run(make_ready(settings()))


@app.command(rich_help_panel="Roles")
def api() -> None:
    """Run the REST API."""
    from api.server import run
    from worker import build_transfer_worker

    run(settings(), build_transfer_worker)


@app.command(rich_help_panel="Roles")
def worker() -> None:
    """Run the worker: every workflow and activity."""
    from worker import run

    run(settings())


@app.command(rich_help_panel="Roles")
def ledger() -> None:
    """Run the ledger's service for other processes."""
    from ledger.server import run

    run(settings())


@app.command(rich_help_panel="Roles")
def relay() -> None:
    """Run the relay: outbox to Kafka."""
    from events.relay import run

    run(settings())


@app.command(rich_help_panel="Roles")
def consumers() -> None:
    """Run the consumers: Kafka to the history read model and to people's e-mail."""
    from events.consumers import run

    run(settings())


@app.command(rich_help_panel="Roles")
def bank() -> None:
    """Run the simulated bank (development only)."""
    from bank_adapters.simulator.server import run

    run(settings())


@dead_letters.command("list")
def list_dead_letters(consumer: Annotated[str | None, typer.Option(help="Of this consumer alone.")] = None) -> None:
    """Show the events that a consumer could not process."""
    from commands import dead_letters as commands

    asyncio.run(commands.show(_joined(), _console, consumer))


@dead_letters.command("replay")
def replay_dead_letters(
    numbers: Annotated[list[int] | None, typer.Argument(help="Which; all that wait if none is named.")] = None,
    consumer: Annotated[str | None, typer.Option(help="Of this consumer alone.")] = None,
) -> None:
    """Have them processed now; exit 1 if one still cannot be."""
    from commands import dead_letters as commands

    raise typer.Exit(0 if asyncio.run(commands.replay(_joined(), _console, numbers or [], consumer)) else 1)


@history.command("rebuild")
def rebuild_history(
    kafka: Annotated[bool, typer.Option("--kafka", help="By reading all events again, not from the ledger.")] = False,
) -> None:
    """Make it anew while everything runs: what is missing is added, what is wrong is put right."""
    from commands.history import rebuild

    asyncio.run(rebuild(_joined(), _console, kafka=kafka))


@keys.command("client")
def create_client(name: str) -> None:
    """Add a client, which owns users; prints its id."""
    from commands import keys as commands

    asyncio.run(commands.create_client(_joined(), _console, name))


@keys.command("create")
def create_key(client_id: str, scope: str = "app", name: str = "") -> None:
    """Add a key (scope app or operator); prints it this once."""
    from commands import keys as commands
    from ledger.directory import Scope

    if scope not in tuple(Scope):
        raise typer.BadParameter(f"wants one of {', '.join(Scope)}", param_hint="--scope")
    asyncio.run(commands.create_key(_joined(), _console, client_id, Scope(scope), name or scope))


@keys.command("list")
def list_keys() -> None:
    """Show all clients and keys."""
    from commands import keys as commands

    asyncio.run(commands.list_keys(_joined(), _console))


@keys.command("revoke")
def revoke_key(key_id: str) -> None:
    """Revoke a key by the id that `list` shows."""
    from commands import keys as commands

    asyncio.run(commands.revoke_key(_joined(), _console, key_id))


Reason = Annotated[str, typer.Option(help="Why; kept with the change.")]
Only = Annotated[str | None, typer.Option(help="One side alone: debits (money out) or credits (money in).")]
Limit = Annotated[int | None, typer.Option(min=1, help="In minor units; left out, there is no such limit.")]


@wallets.command("show")
def show_wallet(wallet_id: str) -> None:
    """Show a wallet's balance and rules."""
    from commands import wallets as commands

    asyncio.run(commands.show(_joined(), _console, wallet_id))


@wallets.command("freeze")
def freeze_wallet(wallet_id: str, reason: Reason, only: Only = None) -> None:
    """Let no new payment take money from a wallet or bring it any."""
    _change_wallet(ChangeKind.FREEZE, wallet_id, reason, only=only)


@wallets.command("unfreeze")
def unfreeze_wallet(wallet_id: str, reason: Reason, only: Only = None) -> None:
    """Let it pay and be paid again."""
    _change_wallet(ChangeKind.UNFREEZE, wallet_id, reason, only=only)


@wallets.command("limits")
def limit_wallet(wallet_id: str, reason: Reason, per_transaction: Limit = None, daily: Limit = None) -> None:
    """Set both limits of what may leave a wallet."""
    _change_wallet(
        ChangeKind.LIMIT, wallet_id, reason, limits=WalletLimits(per_transaction=per_transaction, daily=daily)
    )


@wallets.command("close")
def close_wallet(wallet_id: str, reason: Reason) -> None:
    """Close an empty wallet, for ever."""
    _change_wallet(ChangeKind.CLOSE, wallet_id, reason)


def _change_wallet(
    kind: ChangeKind, wallet_id: str, reason: str, *, only: str | None = None, limits: WalletLimits | None = None
) -> None:
    from commands import wallets as commands

    if only not in (None, *commands.SIDES):
        raise typer.BadParameter(f"wants {' or '.join(commands.SIDES)}", param_hint="--only")
    wanted = commands.asked_here(kind, reason, only=only, limits=limits)
    asyncio.run(commands.change(_joined(), _console, wallet_id, wanted))


@bank_accounts.command("show")
def show_bank_account(bank_account_id: str) -> None:
    """Show a bank account and every status it has had, without its number or token."""
    from commands.bank_accounts import show

    asyncio.run(show(_joined(), _console, bank_account_id))


@bank_accounts.command("stop-debits")
def stop_debits(bank_account_id: str, reason: Reason) -> None:
    """Take no more money from it until its holder links it again."""
    from commands import bank_accounts as commands

    asyncio.run(commands.stop_debits(_joined(), _console, bank_account_id, reason))


@bank_accounts.command("require-relink")
def require_relink(bank_account_id: str, reason: Reason) -> None:
    """Move no money over it until its holder links it again."""
    from commands import bank_accounts as commands

    asyncio.run(commands.require_relink(_joined(), _console, bank_account_id, reason))


@secrets.command("new-key")
def new_key() -> None:
    """Put a new key first in the file of keys; restart the roles, then re-encrypt."""
    from commands.secrets import new_key as add

    add(_joined(), _console)


@secrets.command("reencrypt")
def reencrypt() -> None:
    """Bring every secret under the newest key, while the platform runs; older keys can go afterwards."""
    from commands.secrets import reencrypt_all

    asyncio.run(reencrypt_all(_joined(), _console))


def main() -> None:
    """Run the command line. What has a name is said in one line; what has none keeps its traceback."""
    try:
        app()
    except SagapayError as error:
        Console(stderr=True).print(f"[red]{error.code}[/]: {error.detail}", soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
