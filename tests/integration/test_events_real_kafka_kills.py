"""Relay, consumer and a real Apache Kafka are killed at random under load: events still give the ledger's balances.

`make test-kafka MINUTES=10 SEED=7` does it for longer, and with the chances of an earlier run.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.local import LocalLedger
from tests.events.kafka_server import KafkaServer
from tests.events.killing import kill_at_random, pay, until_rebuilt
from tests.events.real_kafka import QUIET_SECONDS
from tests.events.rebuilding import REBUILT
from tests.events.stage import Stage, staged
from tests.money.requests import Client
from tests.money.scratch import Databases
from tests.stack.servers import Servers

MINUTES = float(os.environ.get("SAGAPAY_TEST_KAFKA_MINUTES") or 1)
PATIENCE_SECONDS = 90 + 30 * MINUTES
ROUND_SECONDS = 0.1
"""Between eight payments and the next: a consumer that is killed all the time has to read what comes of minutes."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 * MINUTES + PATIENCE_SECONDS + 60)]


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path, kafka: KafkaServer) -> Iterator[Stage]:
    own = {"kafka_bootstrap": kafka.bootstrap, "consumer_quiet_seconds": QUIET_SECONDS}
    with databases.shards(2) as shards, staged(shards, bare_servers.settings, tmp_path, **own) as made:
        with made.connect() as connection:
            connection.execute(REBUILT.encode())
        yield made


async def test_whoever_is_killed_for_minutes_the_sums_are_right(
    stage: Stage, kafka: KafkaServer, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("SAGAPAY_TEST_KAFKA_SEED") or random.SystemRandom().randrange(1_000_000))
    with capsys.disabled():
        print(f"\nkilling for {MINUTES:g} minutes with SEED={seed}", flush=True)
    kafka.kill()
    quiet = {"consumer_quiet_seconds": QUIET_SECONDS}
    victims = {
        "broker": kafka.begin,
        "relay": lambda: stage.start_role("-m", "cli", "relay", **quiet),
        "rebuilder": lambda: stage.start_role("-m", "tests.events.rebuilding", **quiet),
    }

    def told() -> int:
        return int(str(stage.ask("SELECT coalesce(sum(version), 0)::bigint FROM rebuilt")[0][0]))

    def enough(killed: Counter[str]) -> bool:
        return time.monotonic() > end and len(killed) == len(victims)

    ledger, done, end = LocalLedger(stage.settings), asyncio.Event(), time.monotonic() + 60 * MINUTES
    paying = asyncio.create_task(pay(Client(ledger), done, random.Random(seed), ROUND_SECONDS))
    killed = await kill_at_random(victims, enough, random.Random(seed), told)
    told_meanwhile = told()
    done.set()
    paid = await paying
    await ledger.aclose()
    began = time.monotonic()
    await until_rebuilt(stage, PATIENCE_SECONDS)
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"{paid} payments, {told_meanwhile} entries told by then, all {seconds:.1f} s later; {dict(killed)}")
    assert paid > 10 * 60 * MINUTES
