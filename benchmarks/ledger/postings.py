"""Our way: many callers at once of the ledger's service, each with its next transfer, in one process or several."""

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import accumulate, count
from multiprocessing import get_context
from typing import Final

import psycopg
import uvloop

from benchmarks.ledger.server import OPENING_BALANCE, Server
from domain.contracts.payments import IdempotencyRecord, PaymentRequest, StepCommand, StepResult
from domain.ids import ClientId, TransactionId, WalletId
from domain.money import Money
from domain.transactions import Step, TransactionKind, TransactionStatus
from infra.settings import Settings
from ledger.local import LocalLedger
from ledger.service import LedgerService
from ledger.shards import shard_of


class Skew(StrEnum):
    """Who pays whom."""

    UNIFORM = "uniform"
    ZIPF_1 = "zipf_1"
    ZIPF_2 = "zipf_2"
    MERCHANT = "merchant"
    """Everybody pays one and the same receiver."""


class Reach(StrEnum):
    """Where the receiver's wallet is kept, seen from the sender's."""

    ANYWHERE = "anywhere"
    SAME_SHARD = "same_shard"
    OTHER_SHARD = "other_shard"


_BOOKS: Final = """
    SELECT (SELECT coalesce(sum(CASE type WHEN 'DEBIT' THEN amount ELSE -amount END), 0) FROM ledger.ledger_entries),
           (SELECT sum(balance) FROM ledger.accounts WHERE kind = 'wallet')
"""
_EXPONENT: Final = {Skew.ZIPF_1: 1.0, Skew.ZIPF_2: 2.0}


@dataclass(frozen=True)
class Drive:
    """What one process does: `callers` at once, for `seconds`."""

    settings: Settings
    wallets: tuple[str, ...]
    callers: int
    seconds: float
    skew: Skew = Skew.UNIFORM
    seed: int = 0
    reach: Reach = Reach.ANYWHERE


@dataclass
class Driven:
    """What came of it: transfers posted, failures, and each one's latency in seconds."""

    posted: int = 0
    failed: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Transfers a second."""
        return self.posted / self.seconds if self.seconds else 0.0


def wallets_of(server: Server) -> tuple[str, ...]:
    """All wallets' ids, of all shards."""
    found: list[str] = []
    for database in server.databases:
        with server.connect(database) as connection:
            rows = connection.execute(
                "SELECT encode(uuid_send(account_id), 'hex') FROM ledger.accounts WHERE kind = 'wallet'"
            )
            found += [WalletId.from_hex(digits) for (digits,) in rows]
    return tuple(found)


def drive(plan: Drive, processes: int = 1) -> Driven:
    """Post transfers from so many processes, each with the plan's callers."""
    if processes == 1:
        return _drive(plan)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        plans = [replace(plan, seed=plan.seed + number) for number in range(processes)]
        parts = list(pool.map(_drive, plans))
    together = Driven(seconds=max(part.seconds for part in parts))
    for part in parts:
        together.posted += part.posted
        together.failed += part.failed
        together.latencies += part.latencies
    return together


def _drive(plan: Drive) -> Driven:
    return uvloop.run(_carry_out(plan))


async def _carry_out(plan: Drive) -> Driven:
    ledger, done = LocalLedger(plan.settings), Driven()
    await ledger.ping()
    client, parties, numbers = ClientId.new(0), pairs(plan), count()
    begin = time.perf_counter()

    async def call() -> None:
        while time.perf_counter() < begin + plan.seconds:
            asked = request(client, *next(parties), next(numbers))
            started = time.perf_counter()
            result = await _transfer(ledger, asked)
            done.latencies.append(time.perf_counter() - started)
            if result.status is TransactionStatus.SUCCEEDED:
                done.posted += 1
            else:
                done.failed += 1

    await asyncio.gather(*(call() for _ in range(plan.callers)))
    done.seconds = time.perf_counter() - begin
    await ledger.aclose()
    return done


async def _transfer(ledger: LedgerService, request: PaymentRequest) -> StepResult:
    """All steps, as its workflow would take them."""
    begun = await ledger.begin(request, Step.SETTLE_TRANSFER)
    if begun.status.final:
        return begun
    await ledger.receive_transfer(request)
    return await ledger.take_step(StepCommand(transaction_id=request.transaction_id, step=Step.COMPLETE_TRANSFER))


def request(client: ClientId, sender: WalletId, receiver: WalletId, number: int) -> PaymentRequest:
    """A transfer of one minor unit under a new key."""
    return PaymentRequest(
        transaction_id=TransactionId.new(sender.bucket),
        kind=TransactionKind.TRANSFER,
        client_id=client,
        amount=Money(1, "USD"),
        workflow_id=f"{client}:{sender}:{number}",
        effective_at=datetime.now(UTC),
        idempotency=IdempotencyRecord(key_digest=os.urandom(16).hex(), fingerprint=os.urandom(32).hex()),
        source_wallet_id=sender,
        destination_wallet_id=receiver,
        memo="benchmark",
    )


def pairs(plan: Drive) -> Iterator[tuple[WalletId, WalletId]]:
    """Who pays whom, one after the other, without an end."""
    chance, ids = random.Random(plan.seed), [WalletId(each) for each in plan.wallets]
    pick: Callable[[], WalletId]
    if plan.skew in _EXPONENT:
        weights = list(accumulate((rank + 1) ** -_EXPONENT[plan.skew] for rank in range(len(ids))))

        def pick() -> WalletId:
            return chance.choices(ids, cum_weights=weights)[0]
    else:

        def pick() -> WalletId:
            return chance.choice(ids)

    while True:
        sender = pick()
        receiver = ids[0] if plan.skew is Skew.MERCHANT else pick()
        if sender != receiver and _within(plan, sender, receiver):
            yield sender, receiver


def _within(plan: Drive, sender: WalletId, receiver: WalletId) -> bool:
    if plan.reach is Reach.ANYWHERE:
        return True
    shards = len(plan.settings.shard_urls)
    same = shard_of(sender.bucket, shards) == shard_of(receiver.bucket, shards)
    return same is (plan.reach is Reach.SAME_SHARD)


def demand_even(connections: Sequence[psycopg.Connection], wallets: int) -> None:
    """Raises RuntimeError if money was made or lost on the shards behind `connections`.

    Each one's entries sum to zero; all balances are what they were together.
    """
    rows = [connection.execute(_BOOKS).fetchone() for connection in connections]
    books = [(int(row[0]), int(row[1])) for row in rows if row]
    if any(entries for entries, _ in books) or sum(balances for _, balances in books) != wallets * OPENING_BALANCE:
        raise RuntimeError(f"the ledger's books are not even: {books}")


def deadlocks(connection: psycopg.Connection) -> int:
    """How often PostgreSQL has had to break a deadlock in this database."""
    row = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    return int(row[0]) if row else 0
