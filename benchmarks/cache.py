"""`python -m benchmarks.cache`: what Redis saves, in one process: reads, hopeless debits, the sender's lock.

API, workers and callers share the process and the machine with the servers, so only the columns of a line compare.
"""

import asyncio
import logging
import os
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
from typing import Any, Final

import structlog
from rich.console import Console

from benchmarks.__main__ import publish
from benchmarks.figures import Figure, Figures
from benchmarks.report import where_and_when
from benchmarks.trial import percentile
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


async def reads(stage: Stage, people: list[Person], command: str) -> Figures:
    """Balances of wallets of which a few are read often (Zipf 1)."""
    weights = list(accumulate(1 / rank for rank in range(1, len(people) + 1)))
    rates, by_ledger = dict[str, float](), dict[str, float]()
    for consistency in ("strong", "eventual"):
        before = REGISTRY.get_sample_value("sagapay_balance_reads_total", {"by": "ledger"}) or 0

        async def read(consistency: str = consistency) -> int:
            (person,) = random.choices(people, cum_weights=weights)
            return (await stage.app.get(f"/v1/wallets/{person.wallet_id}", consistency=consistency)).status_code

        rates[consistency], found = await rate(read)
        asked = (REGISTRY.get_sample_value("sagapay_balance_reads_total", {"by": "ledger"}) or 0) - before
        by_ledger[consistency] = (found.total() if consistency == "strong" else asked) / found.total()
    return {
        "cache_reads_strong": Figure.of(rates["strong"], "/s", "higher", command),
        "cache_reads_eventual": Figure.of(rates["eventual"], "/s", "higher", command),
        "cache_reads_eventual_to_strong": Figure.of(rates["eventual"] / rates["strong"], "×", "higher", command),
        "cache_database_reads_saved": Figure.of(1 - by_ledger["eventual"], "of 1", "higher", command),
    }


async def hopeless(app: Caller, stage: Stage, person: Person, receiver: Person) -> float:
    """Debits a second of a wallet that has nothing."""
    body = stage.transfer_body(person, receiver)

    async def pay() -> int:
        return (await app.post("/v1/transfers", body)).status_code

    a_second, found = await rate(pay)
    assert set(found) == {202}, found
    return a_second


async def crowd(app: Caller, body: dict[str, Any], name: str, command: str) -> Figures:
    """A crowd of one sender's payments at once, each with a key of its own."""
    took = dict[int, list[float]]()
    began = time.perf_counter()

    async def pay() -> None:
        status = (await app.post("/v1/transfers", body)).status_code
        took.setdefault(status, []).append(time.perf_counter() - began)

    cpu = time.process_time()
    await asyncio.gather(*(pay() for _ in range(CROWD)))
    paid, seconds = took[202], time.perf_counter() - began
    cpu_ms = (time.process_time() - cpu) * 1000 / len(paid)
    return {
        f"{name}_shed": Figure.of(len(took.get(503, [])), "payments", "lower", command),
        f"{name}_answered": Figure.of(seconds, "s", "lower", command),
        f"{name}_paid_p99": Figure.of(percentile(paid, 99), "s", "lower", command),
        f"{name}_cpu": Figure.of(cpu_ms, "ms each paid", "lower", command),
    }


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def measure(stage: Stage, command: str) -> Figures:
    """Each thing without and with what is to save it."""
    people = [await stage.person() for _ in range(WALLETS)]
    say(f"balances of {WALLETS} wallets, read by {CALLERS} callers ...")
    figures = await reads(stage, people, command)
    for check in (False, True):
        name = "with" if check else "without"
        say(f"hopeless debits {name} the check ...")
        async with another_api(stage, transfer_lane="workflow", preliminary_check=check) as app:
            a_second = await hopeless(app, stage, *people[:2])
        figures[f"cache_hopeless_{name}_check"] = Figure.of(a_second, "/s", "higher", command)
    sender = await stage.funded(10 * CROWD)
    for lock in (False, True):
        name = "with" if lock else "without"
        say(f"{CROWD} payments of one sender {name} the lock ...")
        async with another_api(stage, transfer_lane="workflow", sender_lock=lock) as app:
            body = stage.transfer_body(sender, people[0], 1)
            figures |= await crowd(app, body, f"cache_crowd_{name}_lock", command)
    return figures


async def main(command: str) -> Figures:
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
                return await measure(stage, command)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    load_before, told = os.getloadavg()[0], "make bench-cache"
    publish("cache", asyncio.run(main(told)), where_and_when(told, load_before), Console(), instead_of=("cache_",))
