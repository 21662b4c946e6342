"""Balances rebuilt from events alone are the ledger's, to the version, whoever is killed on the way."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.local.child import Child
from ledger.accounts import CREDIT_NORMAL
from ledger.local import LocalLedger
from tests.events.rebuilding import REBUILT
from tests.events.stage import Stage, staged
from tests.money.requests import Client
from tests.money.scratch import Databases
from tests.stack.servers import Servers

pytestmark = pytest.mark.slow

KILLS = 12
PATIENCE_SECONDS = 180
WALLETS = 6
LEDGERS = "SELECT kind, replace(account_id::text, '-', ''), balance, version FROM ledger.accounts WHERE version > 0"


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    with databases.shards(2) as shards, staged(shards, bare_servers.settings, tmp_path) as made:
        with made.connect() as connection:
            connection.execute(REBUILT.encode())
        yield made


def in_the_ledger(stage: Stage) -> set[tuple[object, ...]]:
    """(shard, account, credits less debits, version) of every account that has entries."""
    return {
        (
            shard,
            f"{'wal' if kind == 'wallet' else 'sys'}_{digits}",
            balance if kind in CREDIT_NORMAL else -balance,
            version,
        )
        for shard in (0, 1)
        for kind, digits, balance, version in stage.ask(LEDGERS, shard)
    }


async def pay(client: Client, done: asyncio.Event, chance: random.Random) -> int:
    """Payments among a few wallets on two shards, until somebody says that it is enough; how many they were."""
    wallets = {shard: [await client.open_wallet(10_000, shard=shard) for _ in range(WALLETS)] for shard in (0, 1)}
    paid = 0
    while not done.is_set():
        payer, payee = chance.sample(wallets[paid % 2], 2)
        await asyncio.gather(*(client.transfer(payer, payee, chance.randint(1, 40)) for _ in range(8)))
        paid += 8
    return paid


async def test_whoever_is_killed_on_the_way_the_sums_are_right(stage: Stage) -> None:
    start: dict[str, Callable[[], Child]] = {
        "broker": stage.start_broker,
        "relay": lambda: stage.start_role("-m", "cli", "relay"),
        "rebuilder": lambda: stage.start_role("-m", "tests.events.rebuilding"),
    }
    running = {name: begin() for name, begin in start.items()}
    ledger, chance, done = LocalLedger(stage.settings), random.Random(7), asyncio.Event()
    paying = asyncio.create_task(pay(Client(ledger), done, chance))
    killed = Counter[str]()
    for number in range(KILLS):
        await asyncio.sleep(chance.uniform(0.3, 2.5))
        name = list(start)[number % len(start)] if number < len(start) else chance.choice(list(start))
        os.kill(running[name].pid, signal.SIGKILL)
        killed[name] += 1
        running[name] = start[name]()
    done.set()
    assert await paying > 100
    await ledger.aclose()
    wanted = in_the_ledger(stage)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = set(stage.ask("SELECT shard, account, credits_less_debits, version FROM rebuilt"))
            if found == wanted:
                break
            await asyncio.sleep(0.2)
    assert killed.keys() == start.keys()
    assert stage.ask("SELECT count(*) FROM ledger.dead_letters") == [(0,)]
