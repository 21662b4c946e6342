"""What a transfer costs, part by part, in CPU: what bounds the rate, whatever else the machine is doing.

Groups are posted with more and more of what they write; what a part adds is its cost. The books are not even
afterwards: nothing else can be measured on that database.
"""

import asyncio
import os
import random
import time
from collections.abc import Mapping
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks.ledger.postings import request
from benchmarks.ledger.server import Server
from domain.ids import ClientId, WalletId
from domain.transactions import Step
from infra.database import Pipeline, Statement
from ledger import posting, statements
from ledger.work import Begin

GROUP: Final = 200
PARTS: Final = ("transactions", "entries", "accounts", "events")
LOCKS, STEPS, PYTHON = "locks, keys and commit", "steps, postings and timeline", "Python"
_TICK_US: Final = 1_000_000 / os.sysconf("SC_CLK_TCK")


class _Partial(Pipeline):
    """Writes only some parts of a group; None writes nothing."""

    def __init__(self, driver: psycopg.AsyncConnection[Any], parts: tuple[str, ...] | None) -> None:
        super().__init__(driver)
        self._parts = parts

    async def run_and_commit(self, *written: Statement) -> None:
        """See Pipeline."""
        if self._parts is None:
            return await super().run_and_commit()
        ((_, values),) = written
        return await super().run_and_commit((statements.write_group(self._parts), values))


def costs(server: Server, wallets: tuple[str, ...], rounds: int) -> Mapping[str, float]:
    """Microseconds of CPU that a transfer costs in each part, in groups of 200."""
    return asyncio.run(_costs(server, [WalletId(each) for each in wallets], rounds))


async def _costs(server: Server, wallets: list[WalletId], rounds: int) -> dict[str, float]:
    url = server.settings.shard_urls[0]
    driver = await psycopg.AsyncConnection.connect(
        url, autocommit=True, prepare_threshold=2, options="-c jit=off -c timezone=UTC"
    )
    stages = {LOCKS: None, STEPS: (), **{part: PARTS[: number + 1] for number, part in enumerate(PARTS)}}
    chance, client, numbers = random.Random(0), ClientId.new(0), count()
    spent, python = dict.fromkeys(stages, 0.0), 0.0
    for turn in range(rounds + 1):  # The first warms up.
        for stage, parts in stages.items():
            people = iter(chance.sample(wallets, 2 * GROUP))
            pairs = zip(people, people, strict=True)
            works = [
                Begin(request(client, *pair, number), Step.SETTLE_TRANSFER)
                for pair, number in zip(pairs, islice(numbers, GROUP), strict=True)
            ]
            before, ours = _cpu_us(driver.info.backend_pid), time.process_time()
            await posting.post(_Partial(driver, parts), works, shards=1)
            if turn:
                spent[stage] += _cpu_us(driver.info.backend_pid) - before
                python += (time.process_time() - ours) * 1_000_000 if stage == PARTS[-1] else 0
    await driver.close()
    shares = {stage: total / rounds / GROUP for stage, total in spent.items()}
    names = list(shares)
    return {
        PYTHON: python / rounds / GROUP,
        LOCKS: shares[LOCKS],
        **{part: shares[part] - shares[less] for less, part in pairwise(names)},
    }


def _cpu_us(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_US
