"""Books with one payment of every kind in every state it can stop in."""

from dataclasses import replace
from typing import Final

from domain.contracts.payments import StepResult
from domain.contracts.wallets import ChangeKind, WalletLimits
from domain.transactions import Step
from tests.money.requests import REFUSED_BY_BANK, Client, change_wallet

CREDITED: Final = 700
RECORDED: Final = 600
HELD: Final = 200
CAPTURED: Final = 150
SETTLED: Final = 10_000 + 5_000 - 300
"""What is still in flight, and what has settled at the bank, in minor units of USD."""


async def pay_in_every_way(client: Client) -> dict[str, StepResult]:
    """The payments, by what they are called in `tests.money.corruptions`; all on one shard, where there are two."""
    a, b = await client.open_wallet(10_000, shard=0), await client.open_wallet(5_000, shard=0)
    c, d = await client.open_wallet(shard=0), await client.open_wallet(shard=0)
    returned = await client.deposit(c, 500)
    await client.transfer(c, d, 400)
    returned_withdrawal = await client.withdraw(d, 90)
    await client.take_back(returned, Step.RETURN_DEPOSIT)
    await client.take_back(returned_withdrawal, Step.RETURN_WITHDRAWAL)
    paid = {
        "returned deposit": returned,
        "returned withdrawal": returned_withdrawal,
        "collecting transfer": await client.transfer(d, c, 150),
        "transfer": await client.transfer(a, b, 1_000),
        "last transfer": await client.transfer(b, a, 10),
        "refused transfer": await client.transfer(a, b, 1_000_000),
        "withdrawal": await client.withdraw(b, 300),
        "held": await client.begin_withdrawal(a, HELD),
        "captured": await client.begin_withdrawal(b, CAPTURED),
        "released": await client.begin_withdrawal(b, 99),
        "refused withdrawal": await client.begin_withdrawal(b, 1_000_000),
        "recorded deposit": await client.begin_deposit(b, RECORDED),
        "credited deposit": await client.begin_deposit(b, CREDITED),
        "failed deposit": await client.begin_deposit(a, 800),
    }
    await client.take(paid["captured"], Step.CAPTURE_WITHDRAWAL)
    await client.take(paid["released"], Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK)
    await client.take(paid["credited deposit"], Step.CREDIT_DEPOSIT)
    await client.take(paid["failed deposit"], Step.FAIL_DEPOSIT, failure=REFUSED_BY_BANK)
    limits = WalletLimits(per_transaction=5_000, daily=50_000)
    await change_wallet(client.ledger, a, ChangeKind.LIMIT, limits=limits)
    await change_wallet(client.ledger, a, ChangeKind.LIMIT, limits=replace(limits, daily=60_000))
    await change_wallet(client.ledger, b, ChangeKind.FREEZE, credits=False)
    return paid
