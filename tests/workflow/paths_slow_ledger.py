"""Paths on which the ledger's database answers, but late: somebody else holds the wallet's row."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.transactions import TransactionStatus
from tests.workflow.paths import path
from tests.workflow.scene import OPENING, Payment, Person, Scene

SUCCEEDED = TransactionStatus.SUCCEEDED
HELD_UP_SECONDS = 4.0
"""Longer than a local activity may take."""

_LOCK = text("SELECT FROM ledger.accounts WHERE account_id = :account_id FOR UPDATE")


@asynccontextmanager
async def _locked(scene: Scene, person: Person) -> AsyncIterator[None]:
    async with scene.ledger.shards.of(person.wallet_id).engine.begin() as connection:
        await connection.execute(_LOCK, {"account_id": person.wallet_id.uuid})
        yield


@path
async def withdrawal_held_up_in_the_ledger(scene: Scene) -> Payment:
    """The first step gives way to a regular activity, and is taken once."""
    person = await scene.person(balance=1_000)
    async with _locked(scene, person):
        starting = asyncio.create_task(scene.withdraw(person, 300))
        await asyncio.sleep(HELD_UP_SECONDS)
        assert not starting.done()
    payment = await starting
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment


@path
async def deposit_held_up_in_the_ledger(scene: Scene) -> Payment:
    """A later step gives way: the credit, after the bank has taken the money."""
    person = await scene.person()
    await scene.misbehave(person, FaultKind.SLOW, Operation.PULL, times=1, seconds=1)
    payment = await scene.deposit(person, 700)
    async with _locked(scene, person):
        await asyncio.sleep(1 + HELD_UP_SECONDS)
        assert await scene.all_of(person) == (0, 0, OPENING - 700)
    await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    return payment
