"""Balances rebuilt from events alone are the ledger's, to the version, whoever is killed on the way."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.local import LocalLedger
from tests.events.killing import kill_at_random, pay, until_rebuilt
from tests.events.rebuilding import REBUILT
from tests.events.stage import Stage, staged
from tests.money.requests import Client
from tests.money.scratch import Databases
from tests.stack.servers import Servers

pytestmark = pytest.mark.slow

KILLS = 12
PATIENCE_SECONDS = 180


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    with databases.shards(2) as shards, staged(shards, bare_servers.settings, tmp_path) as made:
        with made.connect() as connection:
            connection.execute(REBUILT.encode())
        yield made


async def test_whoever_is_killed_on_the_way_the_sums_are_right(stage: Stage) -> None:
    victims = {
        "broker": stage.start_broker,
        "relay": lambda: stage.start_role("-m", "cli", "relay"),
        "rebuilder": lambda: stage.start_role("-m", "tests.events.rebuilding"),
    }
    ledger, chance, done = LocalLedger(stage.settings), random.Random(7), asyncio.Event()
    paying = asyncio.create_task(pay(Client(ledger), done, random.Random(7)))
    killed = await kill_at_random(victims, lambda killed: killed.total() == KILLS, chance)
    done.set()
    assert await paying > 100
    await ledger.aclose()
    await until_rebuilt(stage, PATIENCE_SECONDS)
    assert killed.keys() == victims.keys()
