"""`sagapay write-off`: debts that will not be paid, through the operators' API; two people for each."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from commands.attention import OperatorsApi
from domain.money import format_minor


async def ask(api: OperatorsApi, console: Console, wallet_id: str, body: Mapping[str, str | int]) -> None:
    """Ask for one, and print how another operator approves it. Raises CallRefused."""
    asked = await api.post(f"/v1/wallets/{wallet_id}/write-offs", body)
    amount = format_minor(asked["amount"], asked["currency"])
    console.print(f"{asked['write_off_id']} of {amount} waits. Another operator approves it:", soft_wrap=True)
    console.print(f"sagapay write-off approve {asked['write_off_id']} --why …", soft_wrap=True)


async def end(api: OperatorsApi, console: Console, write_off_id: str, call: str, why: str) -> None:
    """Approve or withdraw one. Raises CallRefused."""
    ended = await api.post(f"/v1/write-offs/{write_off_id}/{call}", {"reason": why})
    done = format_minor(ended["written_off"], ended["currency"]) if "written_off" in ended else "nothing"
    console.print(f"{ended['write_off_id']} is {ended['state']}: {done} written off", soft_wrap=True)


async def show_list(api: OperatorsApi, console: Console, filters: Mapping[str, str | int]) -> None:
    """Print those that the filters let through. Raises CallRefused."""
    table = Table("write-off", "wallet", "at most", "state", "written off", "asked by", "why", "ended by")
    async for each in api.write_offs(filters):
        table.add_row(
            each["write_off_id"],
            each["wallet_id"],
            format_minor(each["amount"], each["currency"]),
            each["state"],
            format_minor(each["written_off"], each["currency"]) if "written_off" in each else "",
            each["by"],
            each["reason"],
            each.get("ended_by", ""),
        )
    console.print(table)
