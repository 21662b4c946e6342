"""`python -m benchmarks.cache`: what Redis saves, in one process: reads, hopeless debits, the sender's lock.

API, workers and callers share the process and the machine with the servers, so only the columns of a line compare.
"""

import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from statistics import quantiles
from typing import Final

import structlog

from infra.telemetry import REGISTRY
from tests.integration.test_api_express import another_api
from tests.rest.stage import Caller, Person, Stage, staged
from tests.stack.bank import running_bank
from tests.stack.servers import running_servers

SECONDS: Final = 5.0
CALLERS: Final = 32
WALLETS: Final = 300
CROWD: Final = 200
"""Payments of one sender that come at once."""

Call = Callable[[], Awaitable[int]]


async def rate(call: Call) -> tuple[float, Counter[int]]:
    """Calls a second of CALLERS callers, and their answers by status."""
    until, found = time.perf_counter() + SECONDS, Counter[int]()

    async def caller() -> None:
        while time.perf_counter() < until:
            found[await call()] += 1

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return found.total() / (time.perf_counter() - began), found


async def reads(stage: Stage, people: list[Person]) -> None:
    """Balances of wallets of which a few are read often (Zipf 1)."""
    weights = list(accumulate(1 / rank for rank in range(1, len(people) + 1)))
    for consistency in ("strong", "eventual"):
        before = REGISTRY.get_sample_value("sagapay_balance_reads_total", {"by": "ledger"}) or 0

        async def read(consistency: str = consistency) -> int:
            (person,) = random.choices(people, cum_weights=weights)
            return (await stage.app.get(f"/v1/wallets/{person.wallet_id}", consistency=consistency)).status_code

        a_second, found = await rate(read)
        asked = (REGISTRY.get_sample_value("sagapay_balance_reads_total", {"by": "ledger"}) or 0) - before
        by_ledger = found.total() if consistency == "strong" else asked
        say(f"reads, {consistency}: {a_second:.0f}/s, {by_ledger / found.total():.1%} of them by the ledger")


async def hopeless(app: Caller, stage: Stage, person: Person, receiver: Person) -> float:
    """Debits a second of a wallet that has nothing."""
    body = stage.transfer_body(person, receiver)

    async def pay() -> int:
        return (await app.post("/v1/transfers", body)).status_code

    a_second, found = await rate(pay)
    assert set(found) == {202}, found
    return a_second


async def crowd(app: Caller, stage: Stage, sender: Person, receiver: Person) -> str:
    """A crowd of one sender's payments at once, each with a key of its own."""
    body, took = stage.transfer_body(sender, receiver, 1), dict[int, list[float]]()
    began = time.perf_counter()

    async def pay() -> None:
        status = (await app.post("/v1/transfers", body)).status_code
        took.setdefault(status, []).append(time.perf_counter() - began)

    cpu = time.process_time()
    await asyncio.gather(*(pay() for _ in range(CROWD)))
    paid = took[202]
    return (
        f"{len(paid)} paid, {len(took.get(503, []))} shed, all answered after {time.perf_counter() - began:.2f} s, "
        f"paid ones after p50 {quantiles(paid, n=100)[49]:.2f} s, p99 {quantiles(paid, n=100)[98]:.2f} s, "
        f"{(time.process_time() - cpu) * 1000 / len(paid):.1f} ms of CPU for each that was paid"
    )


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def measure(stage: Stage) -> None:
    """Each thing without and with what is to save it."""
    people = [await stage.person() for _ in range(WALLETS)]
    await reads(stage, people)
    for check in (False, True):
        async with another_api(stage, transfer_lane="workflow", preliminary_check=check) as app:
            a_second = await hopeless(app, stage, *people[:2])
        say(f"hopeless debits, check {'on' if check else 'off'}: {a_second:.0f}/s")
    sender = await stage.funded(10 * CROWD)
    for lock in (False, True):
        async with another_api(stage, transfer_lane="workflow", sender_lock=lock) as app:
            told = await crowd(app, stage, sender, people[0])
        say(f"{CROWD} payments of one sender, lock {'on' if lock else 'off'}: {told}")


async def main() -> None:
    """Servers, bank, API and workers of its own, gone afterwards."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    home = Path(tempfile.mkdtemp(prefix="sagapay-bench-cache-"))
    try:
        with (
            running_servers(home / "servers") as servers,
            running_bank(home / "bank", servers.settings.bank_port) as bank,
        ):
            import_module("migrations").upgrade_all(servers.settings.migration_urls)
            settings = servers.settings.model_copy(
                update={"settlement_poll_seconds": 0.2, "accept_timeout_seconds": 20.0}
            )
            async with staged(settings, bank) as stage:
                await measure(stage)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
