"""Random calls on the real ledger and on a dictionary: they agree at every step, and the books stay sound.

Payments, holds, limits, freezes, closings, batches, transfers between two shards, suspense items and write-offs, from
two connections at once.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from domain.clock import SettableClock
from ledger.invariants import BankBalance, verify_shards
from ledger.local import LocalLedger
from tests.money.scratch import Database, Databases, settings_of
from tests.property.books import Books
from tests.property.payment_model import AT_ONCE
from tests.property.wallet_model import NOON
from tests.stack.servers import Servers

WEDNESDAY = NOON + timedelta(days=4)
"""What has settled can be available at once: it is a banking day."""


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Hypothesis is not asynchronous: it drives a loop of its own."""
    own = asyncio.new_event_loop()
    yield own
    own.close()


@pytest.fixture
def shards(databases: Databases) -> Iterator[list[Database]]:
    """Two empty ones."""
    with databases.shards(2) as made:
        yield made


@pytest.fixture
def ledgers(
    loop: asyncio.AbstractEventLoop, shards: list[Database], bare_servers: Servers
) -> Iterator[list[LocalLedger]]:
    """The ledger twice, as two processes have it: each with connections and writers of its own."""
    own = settings_of(shards, bare_servers.settings, ach_at_once=AT_ONCE, ach_wait_days=0)
    made = [LocalLedger(own, SettableClock(WEDNESDAY)) for _ in range(2)]
    yield made
    for ledger in made:
        loop.run_until_complete(ledger.aclose())


# Each call of an example costs milliseconds: only the thorough one has the time to make a failing example small.
QUICK = settings(max_examples=5, stateful_step_count=25, derandomize=True, phases=[Phase.generate])
THOROUGH = settings(max_examples=60, stateful_step_count=60, phases=[Phase.generate, Phase.shrink])


@pytest.mark.parametrize(
    "profile",
    [QUICK, pytest.param(THOROUGH, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
    ids=["quick", "thorough"],
)
def test_random_calls_agree_with_the_model(
    loop: asyncio.AbstractEventLoop, ledgers: list[LocalLedger], shards: list[Database], profile: settings
) -> None:
    ran: list[Books] = []

    def books() -> Books:
        ran.append(Books(loop, ledgers))
        return ran[-1]

    run_state_machine_as_test(books, settings=settings(profile, suppress_health_check=list(HealthCheck), deadline=None))
    assert sum(len(run.model.payments) for run in ran) > 5 * profile.max_examples
    for run in ran:
        for kind, expected in (("clearing", run.model.clearing), ("bank_settlement", run.model.at_bank)):
            assert _total(shards, f"{kind}:{run.client.bank}%") == expected
    assert _total(shards, "losses:%") == sum(run.model.lost for run in ran)

    async def read_banks() -> list[BankBalance]:
        return [BankBalance(bank=run.client.bank, currency="USD", minor_units=run.model.at_bank) for run in ran]

    engines = [shard.engine for shard in ledgers[0].shards.all]
    found = loop.run_until_complete(verify_shards(engines, read_banks))
    assert [(finding.name, finding.violations) for finding in found.findings if not finding.ok] == []


def _total(shards: Sequence[Database], code: str) -> int:
    """The balances of our own accounts of that code, on all shards."""
    total = 0
    for shard in shards:
        with shard.connect() as connection:
            query = "SELECT coalesce(sum(balance), 0)::bigint FROM ledger.accounts WHERE code LIKE %s"
            ((part,),) = connection.execute(query, [code]).fetchall()
            total += part
    return total
