"""A caller of the ledger, as a worker process is one: `python -m benchmarks.ledger.caller`, driven by ways.py.

A line of JSON on stdin is one trial, a line on stdout its report. Closed loop: each of `at_once` callers sends its next
transfer when the last is answered. No retries: a call succeeds or fails once.
"""

import asyncio
import gc
import os
import random
import sys
import time
from collections import Counter
from typing import IO

from pydantic import BaseModel

from domain.errors import SagapayError
from domain.ids import ClientId, WalletId
from domain.transactions import StepDecision
from infra.role import rest_collector
from infra.settings import settings
from ledger.opening import open_ledger
from ledger.service import LedgerService
from tests.money.requests import Client


class Trial(BaseModel):
    """What to do. `receiver` is the one wallet that gets all; without it everybody pays anybody."""

    address: str | None
    client_id: str
    wallets: list[str]
    receiver: str | None
    at_once: int
    seconds: float
    seed: int


class Report(BaseModel):
    """What came of it: milliseconds of each transfer that was posted, and how many calls failed, by code."""

    latencies_ms: list[float]
    failures: dict[str, int]
    cpu_seconds: float


async def carry_out(trial: Trial, ledger: LedgerService) -> Report:
    """One trial."""
    client, chance = Client(ledger, client_id=ClientId.parse(trial.client_id)), random.Random(trial.seed)
    wallets = [WalletId.parse(wallet) for wallet in trial.wallets]
    receiver = WalletId.parse(trial.receiver) if trial.receiver else None
    latencies: list[float] = []
    failures: Counter[str] = Counter()

    async def caller() -> None:
        while (begin := time.monotonic()) < end:
            source, other = chance.sample(wallets, 2)
            try:
                paid = await client.transfer(source, receiver or other, 1)
            except SagapayError as error:
                failures[error.code] += 1
                await asyncio.sleep(0.01)
                continue
            if paid.decision is StepDecision.POSTED:
                latencies.append((time.monotonic() - begin) * 1000)
            else:
                failures[paid.decision] += 1

    gc.collect()
    busy, end = time.process_time(), time.monotonic() + trial.seconds
    await asyncio.gather(*(caller() for _ in range(trial.at_once)))
    return Report(latencies_ms=latencies, failures=failures, cpu_seconds=time.process_time() - busy)


async def main(reports: IO[bytes]) -> None:
    """Until stdin ends."""
    own, ledgers = settings(), dict[str | None, LedgerService]()
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        trial = Trial.model_validate_json(line)
        if trial.address not in ledgers:
            ledgers[trial.address] = open_ledger(own.model_copy(update={"ledger_address": trial.address}))
        report = await carry_out(trial, ledgers[trial.address])
        reports.write(report.model_dump_json().encode() + b"\n")
        reports.flush()
    for ledger in ledgers.values():
        await ledger.aclose()


if __name__ == "__main__":
    rest_collector()
    # Where Python is told not to buffer, `sys.stdout` writes only what fits into a pipe at once.
    asyncio.run(main(os.fdopen(sys.stdout.fileno(), "wb", closefd=False)))
