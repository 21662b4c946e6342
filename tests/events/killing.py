"""Kill whoever carries events, at random, while money moves; then compare what came of them with the ledger."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Victim:
    """How to start one, and whether it is at work: nobody is killed before that."""

    start: Callable[[], Child]
    is_up: Callable[[Child], bool] = lambda _: True


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
    victims: Mapping[str, Victim],
    enough: Callable[[Counter[str]], bool],
    chance: random.Random,
    pause_seconds: tuple[float, float] = (0.3, 2.5),
) -> Counter[str]:
    """Start all, and kill and restart one after the other, each once and then at random, until it is `enough`.

    Returns how often each was killed; all run then.
    """
    running = {name: victim.start() for name, victim in victims.items()}
    killed = Counter[str]()
    while not enough(killed):
        await asyncio.sleep(chance.uniform(*pause_seconds))
        up = [name for name, victim in victims.items() if victim.is_up(running[name])]
        chosen = [name for name in up if not killed[name]][:1] or up
        if chosen:
            name = chance.choice(chosen)
            os.kill(running[name].pid, signal.SIGKILL)
            killed[name] += 1
            running[name] = victims[name].start()
    return killed


async def until_rebuilt(stage: Stage, seconds: float) -> None:
    """Wait until a Rebuilder, which has nothing but events, has the ledgers' balances and versions to the last."""
    wanted, deadline = in_the_ledger(stage), time.monotonic() + seconds
    while (found := set(stage.ask(REBUILT))) != wanted:
        assert time.monotonic() < deadline, f"after {seconds} s (wanted, found): {sorted(map(str, wanted ^ found))}"
        await asyncio.sleep(0.2)
    assert stage.ask("SELECT count(*) FROM ledger.dead_letters") == [(0,)]
