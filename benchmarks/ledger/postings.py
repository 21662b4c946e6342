"""Our way: many callers at once of the ledger's service, each with its next transfer, in one process or several."""

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import accumulate, count
from multiprocessing import get_context
from typing import Final

import psycopg
import uvloop

from benchmarks.ledger.server import OPENING_BALANCE, Server
from domain.contracts.payments import IdempotencyRecord, PaymentRequest, StepResult
from domain.ids import ClientId, TransactionId, WalletId
from domain.money import Money
from domain.transactions import Step, TransactionKind, TransactionStatus
from infra.settings import Settings
from ledger.local import LocalLedger


class Skew(StrEnum):
    """Who pays whom."""

    UNIFORM = "uniform"
    ZIPF_1 = "zipf_1"
    ZIPF_2 = "zipf_2"
    MERCHANT = "merchant"
    """Everybody pays one and the same receiver."""


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
    """All wallets' ids."""
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT encode(uuid_send(account_id), 'hex') FROM ledger.accounts WHERE kind = 'wallet'"
        )
        return tuple(WalletId.from_hex(digits) for (digits,) in rows)


def drive(plan: Drive, processes: int = 1) -> Driven:
    """Post transfers from so many processes, each with the plan's callers."""
    if processes == 1:
        return _drive(plan)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        plans = [
            Drive(plan.settings, plan.wallets, plan.callers, plan.seconds, plan.skew, plan.seed + number)
            for number in range(processes)
        ]
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
    client, pairs, numbers = ClientId.new(0), _pairs(plan), count()
    begin = time.perf_counter()

    async def call() -> None:
        while time.perf_counter() < begin + plan.seconds:
            request = _request(client, *next(pairs), next(numbers))
            started = time.perf_counter()
            result: StepResult = await ledger.begin(request, Step.SETTLE_TRANSFER)
            done.latencies.append(time.perf_counter() - started)
            if result.status is TransactionStatus.SUCCEEDED:
                done.posted += 1
            else:
                done.failed += 1

    await asyncio.gather(*(call() for _ in range(plan.callers)))
    done.seconds = time.perf_counter() - begin
    await ledger.aclose()
    return done


def _request(client: ClientId, sender: WalletId, receiver: WalletId, number: int) -> PaymentRequest:
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


def _pairs(plan: Drive) -> Iterator[tuple[WalletId, WalletId]]:
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
        if sender != receiver:
            yield sender, receiver


def demand_even(connection: psycopg.Connection, wallets: int) -> None:
    """Raises RuntimeError if money was made or lost: entries sum to zero, balances are what they were together."""
    row = connection.execute("""
        SELECT (SELECT coalesce(sum(CASE type WHEN 'DEBIT' THEN amount ELSE -amount END), 0)
                FROM ledger.ledger_entries),
               (SELECT sum(balance) FROM ledger.accounts WHERE kind = 'wallet')
    """).fetchone()
    if row is None or (int(row[0]), int(row[1])) != (0, wallets * OPENING_BALANCE):
        raise RuntimeError(f"the ledger's books are not even: {row}")


def deadlocks(connection: psycopg.Connection) -> int:
    """How often PostgreSQL has had to break a deadlock in this database."""
    row = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    return int(row[0]) if row else 0
