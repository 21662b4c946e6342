"""Kill whoever carries events, at random, while money moves; then compare what came of them with the ledger."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping

from infra.local.child import Child
from ledger.accounts import CREDIT_NORMAL
from tests.events.stage import Stage
from tests.money.requests import Client

WALLETS = 6
AT_ONCE = 8
LEDGERS = "SELECT kind, replace(account_id::text, '-', ''), balance, version FROM ledger.accounts WHERE version > 0"
REBUILT = "SELECT shard, account, credits_less_debits, version FROM rebuilt"

Accounts = set[tuple[object, ...]]
"""(shard, account, credits less debits, version) of every account that has entries."""


def in_the_ledger(stage: Stage) -> Accounts:
    """What the ledgers of all shards say."""
    return {
        (
            shard,
            f"{'wal' if kind == 'wallet' else 'sys'}_{digits}",
            balance if kind in CREDIT_NORMAL else -balance,
            version,
        )
        for shard in range(len(stage.shards))
        for kind, digits, balance, version in stage.ask(LEDGERS, shard)
    }


async def pay(client: Client, done: asyncio.Event, chance: random.Random, pause_seconds: float = 0) -> int:
    """Payments among a few wallets on two shards, until somebody says that it is enough; how many they were."""
    wallets = {shard: [await client.open_wallet(10_000, shard=shard) for _ in range(WALLETS)] for shard in (0, 1)}
    paid = 0
    while not done.is_set():
        payer, payee = chance.sample(wallets[paid // AT_ONCE % 2], 2)
        await asyncio.gather(*(client.transfer(payer, payee, chance.randint(1, 40)) for _ in range(AT_ONCE)))
        paid += AT_ONCE
        await asyncio.sleep(pause_seconds)
    return paid


async def kill_at_random(
    start: Mapping[str, Callable[[], Child]],
    enough: Callable[[Counter[str]], bool],
    chance: random.Random,
    told: Callable[[], int] | None = None,
) -> Counter[str]:
    """Start all, and kill and restart one after the other, each once and then at random, until it is `enough`.

    With `told`, which counts the effects so far, nobody is killed before there was another effect, and then one or
    several at once. Returns how often each was killed; all run then.
    """
    running = {name: begin() for name, begin in start.items()}
    killed, seen = Counter[str](), 0
    while not enough(killed):
        await asyncio.sleep(chance.uniform(0.3, 2.5))
        if told and told() == seen:
            continue
        seen = told() if told else 0
        first = next((name for name in start if not killed[name]), chance.choice(list(start)))
        others = chance.sample([name for name in start if name != first], chance.choice((0, 0, 1, 2)) if told else 0)
        for name in (first, *others):
            os.kill(running[name].pid, signal.SIGKILL)
        for name in (first, *others):
            killed[name] += 1
            running[name] = start[name]()
    return killed


async def until_rebuilt(stage: Stage, seconds: float) -> None:
    """Wait until a Rebuilder, which has nothing but events, has the ledgers' balances and versions to the last."""
    wanted, deadline = in_the_ledger(stage), time.monotonic() + seconds
    while (found := set(stage.ask(REBUILT))) != wanted:
        assert time.monotonic() < deadline, f"after {seconds} s (wanted, found): {sorted(map(str, wanted ^ found))}"
        await asyncio.sleep(0.2)
    assert stage.ask("SELECT count(*) FROM ledger.dead_letters") == [(0,)]
