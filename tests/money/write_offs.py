"""Debts that are written off, and ways to spoil what is recorded of them."""

from typing import Final
from uuid import UUID

from domain.contracts.write_offs import NewWriteOff
from domain.ids import WalletId
from domain.transactions import Step
from tests.money.batches import unused_key
from tests.money.corruptions import breaking
from tests.money.requests import Client

MARIA, JOHN, EVE = "operator:maria", "operator:john", "operator:eve"

WRITE_OFF_CORRUPTIONS: Final = (
    breaking(
        "one person alone has written a debt off",
        f"UPDATE ledger.write_off_marks SET marked_by = '{MARIA}' WHERE write_off_id = {{write-off}}",
        "write-offs",
    ),
    breaking(
        "an approval is lost",
        "DELETE FROM ledger.write_off_marks WHERE write_off_id = {write-off}",
        "write-offs",
        "debts",
        "postings as ruled",
    ),
    breaking(
        "more was written off than it says",
        "UPDATE ledger.write_off_marks SET written_off = written_off - 1 WHERE write_off_id = {write-off}",
        "write-offs",
        "debts",
        "postings as ruled",
    ),
    breaking(
        "one may write off alone",
        "ALTER TABLE ledger.write_off_marks DISABLE TRIGGER write_off_wants_two",
        "triggers",
    ),
)


async def owing(client: Client, owed: int) -> WalletId:
    """A wallet with nothing in it that owes so much."""
    wallet = await client.open_wallet()
    await owe(client, wallet, owed)
    return wallet


async def owe(client: Client, wallet: WalletId, owed: int) -> None:
    """Have an empty wallet pass on a deposit that comes back."""
    deposit = await client.deposit(wallet, owed)
    await client.transfer(wallet, await client.open_wallet(), owed)
    await client.take_back(deposit, Step.RETURN_DEPOSIT)


def asking(wallet: WalletId, minor_units: int | None = None) -> NewWriteOff:
    """What Maria asks for, under a key of its own."""
    key = unused_key()
    return NewWriteOff(
        wallet_id=wallet, minor_units=minor_units, by=MARIA, reason="insolvent", evidence="letter of 3 March", key=key
    )


async def write_off_in_every_way(client: Client) -> dict[str, UUID]:
    """A debt of which a part is written off, one is withdrawn and one waits; the first one's id."""
    wallet = await owing(client, 90)
    asked = [await client.ledger.ask_write_off(asking(wallet, amount)) for amount in (40, 20, 10)]
    await client.ledger.approve_write_off(asked[0].write_off_id, JOHN, "seen the letter")
    await client.ledger.withdraw_write_off(asked[1].write_off_id, EVE, "too early")
    return {"write-off": asked[0].write_off_id.uuid}
