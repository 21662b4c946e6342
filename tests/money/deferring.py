"""Deposits over ACH, of which something waits until the bank is unlikely to take them back."""

from dataclasses import replace
from typing import Final

from domain.contracts.payments import StepResult
from domain.ids import WalletId
from domain.rails import Rail
from domain.transactions import Step, TransactionKind
from tests.money.requests import Client

AT_ONCE: Final = 100_000
"""The setting's default, in minor units."""


async def begin_ach_deposit(client: Client, wallet: WalletId, amount: int) -> StepResult:
    """A deposit that is recorded."""
    asked = client.request(TransactionKind.DEPOSIT, amount, destination=wallet)
    return await client.ledger.begin(replace(asked, rails=(Rail.ACH,)), Step.RECORD_DEPOSIT)


async def ach_deposit(client: Client, wallet: WalletId, amount: int) -> StepResult:
    """A whole deposit."""
    begun = await begin_ach_deposit(client, wallet, amount)
    await client.take(begun, Step.CREDIT_DEPOSIT, Step.SETTLE_DEPOSIT)
    return begun
