"""The load generator: a process of its own. A Plan comes in on standard input, a Record goes out on standard output.

    python -m benchmarks.load < plan.json > record.json

In the open loop arrivals follow a schedule made beforehand, whatever the server does; every latency counts from the
scheduled moment, so a late generator makes figures worse, never better.
"""

import asyncio
import gc
import os
import random
import sys
import time
from enum import StrEnum
from itertools import count
from typing import Final, Literal

import orjson
import uvloop
from pydantic import BaseModel

from benchmarks.wire import Answer, Wire

HTTP_OK: Final = (200, 202)
FINAL: Final = ("succeeded", "failed", "returned")


class Kind(StrEnum):
    """What is asked for."""

    TRANSFER = "transfer"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    EXPRESS = "express"
    """A transfer in the express lane."""
    BARE = "bare"
    BARE_SAGA = "bare_saga"
    ENDPOINT = "endpoint"
    """A transfer that is checked and answered, and nothing else."""


BARE_PATHS: Final = {Kind.BARE: "/bare", Kind.BARE_SAGA: "/bare-saga"}
TRANSFERS: Final = (Kind.TRANSFER, Kind.EXPRESS, Kind.ENDPOINT)


class Outcome(StrEnum):
    """What became of a request. DROPPED: not sent, or without an answer when waiting for it ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DROPPED = "dropped"


class Account(BaseModel):
    """A wallet that payments are made from and to, and the bank account linked to it."""

    wallet_id: str
    bank_account_id: str


class Plan(BaseModel):
    """What to send. With a `rate` the loop is open; without one it is closed: `at_once` callers, each waiting."""

    kind: Kind
    url: str
    headers: dict[str, str] = {}
    accounts: list[Account] = []
    run: str
    """Begins every idempotency key, so that no two runs share one."""
    seconds: float
    rate: float | None = None
    arrivals: Literal["even", "poisson"] = "even"
    at_once: int = 16
    most_in_flight: int = 500
    """More are dropped: an open file each, and a server that is far behind."""
    drain_seconds: float = 10
    seed: int = 1


class Sample(BaseModel):
    """One request. Times are seconds since the beginning; None where it did not come to that."""

    due: float
    sent: float | None = None
    accepted: float | None = None
    completed: float | None = None
    outcome: Outcome = Outcome.DROPPED


class Record(BaseModel):
    """What happened, and how much of a core the generator itself took for it."""

    samples: list[Sample]
    cpu_seconds: float
    wall_seconds: float


def schedule(plan: Plan) -> list[float]:
    """When each request is due. Poisson arrivals are conditioned on their number, so that a rate is what it says."""
    assert plan.rate is not None
    total, chance = round(plan.rate * plan.seconds), random.Random(plan.seed)
    if plan.arrivals == "even":
        return [number / plan.rate for number in range(total)]
    return sorted(chance.uniform(0, plan.seconds) for _ in range(total))


class Payments:
    """Makes one request after the other, each between accounts chosen uniformly, so that contention is ordinary."""

    def __init__(self, plan: Plan, wire: Wire) -> None:
        self._plan, self._wire = plan, wire
        self._chance = random.Random(plan.seed)
        self._numbers = count()

    async def make(self, sample: Sample, start: float) -> None:
        """Send it, and follow it until it is final."""
        path, body = self._request()
        sample.sent = time.monotonic() - start
        try:
            answer = await self._wire.call("POST", path, orjson.dumps(body))
            sample.accepted = time.monotonic() - start
            status = _status(answer)
            while status is not None and status not in FINAL:
                status = _status(await self._wire.call("GET", f"/v1/transactions/{_id(answer)}?wait=30"))
        except (OSError, EOFError):
            status = None
        if status is not None:
            sample.completed = time.monotonic() - start
        sample.outcome = Outcome.SUCCEEDED if status == "succeeded" else Outcome.FAILED

    def _request(self) -> tuple[str, dict[str, str | int]]:
        key = f"{self._plan.run}-{next(self._numbers)}"
        if self._plan.kind in BARE_PATHS:
            return BARE_PATHS[self._plan.kind], {"idempotency_key": key}
        payment: dict[str, str | int] = {
            "amount": self._chance.randint(1, 100),
            "currency": "USD",
            "idempotency_key": key,
        }
        if self._plan.kind in TRANSFERS:
            sender, receiver = self._chance.sample(self._plan.accounts, 2)
            return "/v1/transfers", {**payment, "sender_id": sender.wallet_id, "receiver_id": receiver.wallet_id}
        person = self._chance.choice(self._plan.accounts)
        return f"/v1/{self._plan.kind}s", {**payment, **person.model_dump()}


def _status(answer: Answer) -> str | None:
    return str(orjson.loads(answer.body)["status"]) if answer.status in HTTP_OK else None


def _id(answer: Answer) -> str:
    return str(orjson.loads(answer.body)["transaction_id"])


async def open_loop(plan: Plan, payments: Payments) -> list[Sample]:
    """Send each request when it is due, waiting for none; then wait `drain_seconds` for what is missing."""
    samples = [Sample(due=due) for due in schedule(plan)]
    running: set[asyncio.Task[None]] = set()
    start = time.monotonic()
    for sample in samples:
        await asyncio.sleep(start + sample.due - time.monotonic())
        if len(running) < plan.most_in_flight:
            task = asyncio.create_task(payments.make(sample, start))
            running.add(task)
            task.add_done_callback(running.discard)
    await _finish(set(running), plan.drain_seconds)
    return samples


async def closed_loop(plan: Plan, payments: Payments) -> list[Sample]:
    """`at_once` callers, each sending its next request when the last is final."""
    samples: list[Sample] = []
    start = time.monotonic()

    async def caller() -> None:
        while (now := time.monotonic() - start) < plan.seconds:
            samples.append(sample := Sample(due=now))
            await payments.make(sample, start)

    callers = {asyncio.create_task(caller()) for _ in range(plan.at_once)}
    await _finish(callers, plan.seconds + plan.drain_seconds)
    return samples


async def _finish(running: set[asyncio.Task[None]], seconds: float) -> None:
    if not running:
        return
    done, late = await asyncio.wait(running, timeout=seconds)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()


async def carry_out(plan: Plan) -> Record:
    """Run the plan in this process. Answers that are not what the API documents raise ValueError or KeyError."""
    begin, busy = time.monotonic(), time.process_time()
    async with Wire(plan.url, plan.headers) as wire:
        loop = open_loop if plan.rate is not None else closed_loop
        samples = await loop(plan, Payments(plan, wire))
    return Record(samples=samples, cpu_seconds=time.process_time() - busy, wall_seconds=time.monotonic() - begin)


def main() -> None:
    """One plan."""
    plan = Plan.model_validate_json(sys.stdin.buffer.read())
    gc.disable()  # A collection would look like a slow server.
    record = uvloop.run(carry_out(plan))
    # Where Python is told not to buffer, `sys.stdout` writes only what fits into a pipe at once.
    with os.fdopen(sys.stdout.fileno(), "wb") as out:
        out.write(record.model_dump_json().encode())


if __name__ == "__main__":
    main()
