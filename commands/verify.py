"""`sagapay verify`: recompute every invariant, compare with the banks, and say so in a table."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bank_adapters.registry import bank_names, open_bank
from domain.money import format_minor
from infra.database import reading
from infra.settings import Settings
from ledger.invariants import BankBalance, Finding, verify_shards
from ledger.invariants import Progress as InvariantProgress
from ledger.queries import find_settlement
from ledger.shards import Shards

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


async def verify_all(settings: Settings, console: Console, *, ask_banks: bool = True) -> bool:
    """Check every shard; True if not a cent is off. Raises LedgerUnavailable, BankUnavailable, BankUnknown."""
    shards = Shards(settings)
    try:
        with _progress(console) as progress:

            def progress_of(shard: int) -> InvariantProgress:
                task = progress.add_task(f"shard {shard}", total=None)
                return lambda done, total: progress.update(task, completed=done, total=total)

            read_banks = (lambda: bank_balances(settings)) if ask_banks else None
            report = await verify_shards([shard.engine for shard in shards.all], read_banks, progress_of)
    finally:
        await shards.aclose()
    for number, findings in enumerate(report.shards):
        console.print(_table(f"Invariants of shard {number}", findings))
    console.print(_table("Between the shards, and with the banks", report.together))
    clean = all(finding.ok for finding in report.findings)
    console.print("[green]Every invariant holds.[/]" if clean else "[red]Invariants are violated: see above.[/]")
    return clean


async def bank_balances(settings: Settings) -> Sequence[BankBalance]:
    """What every bank's statement of our settlement accounts adds up to, in every currency in which it is not zero."""
    balances = []
    for name in bank_names():
        bank = open_bank(name, settings)
        try:
            totals = Counter[str]()
            async for line in bank.statement(None, since=_EPOCH):
                totals[line.currency] += line.minor_units
            balances += [
                BankBalance(bank=name, currency=currency, minor_units=totals[currency])
                for currency in sorted(totals.keys() | {settings.home_currency})
                if totals[currency] or currency == settings.home_currency
            ]
        finally:
            await bank.aclose()
    return balances


async def compare_books(settings: Settings, console: Console) -> None:
    """The banks' books beside ours, in a table."""
    theirs = {(balance.bank, balance.currency): balance.minor_units for balance in await bank_balances(settings)}
    ours: Counter[tuple[str, str]] = Counter()
    shards = Shards(settings)
    try:
        for shard in shards.all:
            async with reading(shard.engine) as connection:
                ours.update(await find_settlement(connection))
    finally:
        await shards.aclose()
    table = Table("bank", "its statement", "our settlement accounts", title="Books", title_justify="left")
    for place in sorted(theirs.keys() | ours.keys()):
        bank, currency = place
        said = format_minor(theirs[place], currency) if place in theirs else "nothing"
        table.add_row(bank, said, format_minor(ours[place], currency))
    console.print(table)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(), console=console, transient=True,
    )  # fmt: skip


def _table(title: str, findings: Sequence[Finding]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading, justify in (("#", "right"), ("invariant", "left"), ("checked", "right"), ("", "left")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    for finding in findings:
        verdict = "[green]holds[/]" if finding.ok else f"[red]{finding.broken} wrong[/]"
        note = f" ({finding.note})" if finding.note else ""
        table.add_row(str(finding.number), finding.name, f"{finding.checked} {finding.what}", verdict + note)
        for violation in finding.violations:
            table.add_row("", f"[red]{violation.subject}[/]", "", violation.detail)
    return table
