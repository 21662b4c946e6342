"""`sagapay wallet`: look at a wallet, freeze it, limit it, close it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from getpass import getuser

from rich.console import Console
from rich.table import Table

from domain.contracts.wallets import ChangeKind, WalletChange, WalletLimits
from domain.errors import NotFound
from domain.ids import WalletId
from domain.money import format_minor
from infra.settings import Settings
from ledger.opening import open_ledger
from ledger.service import LedgerService, Wallet

SIDES = ("debits", "credits")


@asynccontextmanager
async def _ledger(settings: Settings) -> AsyncIterator[LedgerService]:
    ledger = open_ledger(settings)
    try:
        yield ledger
    finally:
        await ledger.aclose()


def asked_here(
    kind: ChangeKind, reason: str, *, only: str | None = None, limits: WalletLimits | None = None
) -> WalletChange:
    """A change that whoever runs this command asks for. `only` is the one side to freeze or unfreeze."""
    return WalletChange(
        kind=kind,
        by=f"cli:{getuser()}",
        reason=reason,
        debits=only != "credits",
        credits=only != "debits",
        limits=limits or WalletLimits(),
    )


async def show(settings: Settings, console: Console, wallet: str) -> None:
    """Print a wallet with its rules. Raises InvalidId, NotFound."""
    wallet_id = WalletId.parse(wallet)
    async with _ledger(settings) as ledger:
        found = await ledger.wallet(wallet_id)
    if found is None:
        raise NotFound(f"There is no wallet {wallet_id}.")
    console.print(_table(found))


async def change(settings: Settings, console: Console, wallet: str, wanted: WalletChange) -> None:
    """Change a wallet's rules and print it. Raises InvalidId, NotFound, CannotChangeWallet, WalletInUse."""
    wallet_id = WalletId.parse(wallet)
    async with _ledger(settings) as ledger:
        changed = await ledger.change_wallet(wallet_id, wanted)
    console.print(_table(changed.wallet))


def _table(wallet: Wallet) -> Table:
    def money(minor_units: int | None) -> str:
        return "none" if minor_units is None else format_minor(minor_units, wallet.currency)

    table = Table(show_header=False)
    frozen = [side for side, so in zip(SIDES, (wallet.debits_frozen, wallet.credits_frozen), strict=True) if so]
    for name, value in {
        "wallet": wallet.wallet_id,
        "user": wallet.user_id,
        "status": wallet.status.value,
        "frozen for": " and ".join(frozen) or "nothing",
        "posted": money(wallet.posted),
        "held": money(wallet.held),
        "available": money(wallet.available),
        "limit per transaction": money(wallet.limits.per_transaction),
        "limit per day": money(wallet.limits.daily),
        "spent": f"{money(wallet.spent)} on {wallet.spent_on}" if wallet.spent_on else money(0),
    }.items():
        table.add_row(name, value)
    return table
