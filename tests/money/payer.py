"""A process that pays until it is killed: groups of transfers whose keys its parent knows, or one atomic batch.

`python -m tests.money.payer groups LIFE CLIENT WALLET…` or `… batch BATCH`. What it is told goes to its output at once,
a line for each answer.
"""

import asyncio
import sys
from collections.abc import Sequence
from itertools import count
from typing import Final

from domain.contracts.payments import PaymentRequest
from domain.ids import BatchId, ClientId, WalletId
from domain.transactions import Step, TransactionKind
from infra.settings import settings
from ledger.local import LocalLedger
from tests.money.requests import Client

GROUP: Final = 20
"""Transfers that are asked for in one tick: with one writer, one commit."""
TOO_MUCH: Final = 10**9
BEAT_SECONDS: Final = 0.05


def group_of(client: Client, life: str, number: int, wallets: Sequence[WalletId]) -> list[PaymentRequest]:
    """What a group asks for, the same whoever asks: each wallet pays others, and some of it is too much."""
    return [
        client.request(
            TransactionKind.TRANSFER,
            TOO_MUCH if nth % 7 == 6 else 1 + nth,
            source=wallets[nth % len(wallets)],
            destination=wallets[(nth + 1 + number % (len(wallets) - 1)) % len(wallets)],
            key=f"{life}-{number}-{nth}",
        )
        for nth in range(GROUP)
    ]


async def _pay_groups(ledger: LocalLedger, life: str, client: Client, wallets: Sequence[WalletId]) -> None:
    async def pay(number: int, nth: int, request: PaymentRequest) -> None:
        result = await ledger.begin(request, Step.SETTLE_TRANSFER)
        _say("told", number, nth, result.transaction_id, result.decision)

    for number in count():
        group = group_of(client, life, number, wallets)
        await asyncio.gather(*(pay(number, nth, request) for nth, request in enumerate(group)))


async def _settle(ledger: LocalLedger, batch_id: BatchId) -> None:
    await ledger.settle_batch(batch_id)
    _say("told", 0, 0, batch_id, "settled")


async def _beat() -> None:
    """Whoever hears a beat knows that all that was to be sent before is sent."""
    for number in count():
        _say("beat", number)
        await asyncio.sleep(BEAT_SECONDS)


def _say(*words: object) -> None:
    print(*words, flush=True)


async def _work(what: str, *words: str) -> None:
    ledger = LocalLedger(settings())
    beating = asyncio.create_task(_beat())
    if what == "batch":
        await _settle(ledger, BatchId.parse(words[0]))
    else:
        life, client, *wallets = words
        payer = Client(ledger, client_id=ClientId.parse(client))
        await _pay_groups(ledger, life, payer, [WalletId.parse(wallet) for wallet in wallets])
    await beating


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:]))
