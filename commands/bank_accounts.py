"""`sagapay bank-account`: look at a linked bank account, stop its debits, have it linked again."""

from collections.abc import Awaitable, Callable
from getpass import getuser

from rich.console import Console
from rich.table import Table

from domain.errors import NotFound
from domain.ids import BankAccountId
from infra.settings import Settings
from ledger.bank_accounts import BankAccount
from ledger.directory import Directory


async def show(settings: Settings, console: Console, bank_account: str) -> None:
    """Print a bank account and every status that it has had. Raises InvalidId, NotFound."""
    bank_account_id = BankAccountId.parse(bank_account)
    directory = Directory.from_settings(settings)
    try:
        account = await directory.bank_account(bank_account_id)
        changes = await directory.bank_account_changes(bank_account_id)
    finally:
        await directory.aclose()
    if account is None:
        raise NotFound(f"There is no bank account {bank_account_id}.")
    console.print(f"{account.bank_account_id} at {account.bank}, ending in {account.mask}: {account.status}")
    table = Table("since", "status", "by", "reason")
    for change in changes:
        table.add_row(f"{change.at:%Y-%m-%d %H:%M:%S}", change.status, change.by, change.reason)
    console.print(table)


async def stop_debits(settings: Settings, console: Console, bank_account: str, reason: str) -> None:
    """Take no more money from it. Raises InvalidId, NotFound."""
    await _restrict(settings, console, bank_account, lambda found: found.stop_debits, reason)


async def require_relink(settings: Settings, console: Console, bank_account: str, reason: str) -> None:
    """Move no money over it until its holder links it again. Raises InvalidId, NotFound."""
    await _restrict(settings, console, bank_account, lambda found: found.require_relink, reason)


async def _restrict(
    settings: Settings,
    console: Console,
    bank_account: str,
    way: Callable[[Directory], Callable[[BankAccountId, str, str], Awaitable[BankAccount]]],
    reason: str,
) -> None:
    bank_account_id = BankAccountId.parse(bank_account)
    directory = Directory.from_settings(settings)
    try:
        account = await way(directory)(bank_account_id, f"cli:{getuser()}", reason)
    finally:
        await directory.aclose()
    console.print(f"{account.bank_account_id}: {account.status}", soft_wrap=True)
