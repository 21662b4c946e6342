"""Transfers between shards while the ledger fails at every step; invariant 7 is watched all the while."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.contracts.wallets import ChangeKind
from domain.transactions import Step
from infra.local.child import Child, Command
from tests.money.requests import change_wallet
from tests.money.scratch import Databases
from tests.stack.servers import Servers
from tests.workflow.across import FAILED, FOR_LONG, SUCCEEDED, WALKS, Across, Walk, across_stage, open_across
from tests.workflow.operators import cancel, refusal_of
from tests.workflow.scene import Payment, until

SENT, RECEIVED = Step.SETTLE_TRANSFER, Step.RECEIVE_TRANSFER


@pytest.fixture(scope="module")
async def across(
    tmp_path_factory: pytest.TempPathFactory, bare_servers: Servers, databases: Databases
) -> AsyncIterator[Across]:
    """Two shards with workers. At the end not a cent may be off."""
    with across_stage(tmp_path_factory.mktemp("across"), bare_servers.settings, databases) as settings:
        async with open_across(settings) as made:
            yield made
            await made.demand_sound()


@pytest.fixture
async def watched(across: Across) -> AsyncIterator[Across]:
    """Looks at what the shards owe each other again and again."""

    async def watch() -> None:
        while True:
            await across.demand_no_more_claimed_than_owed()
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    yield across
    watching.cancel()
    await asyncio.wait({watching})
    assert watching.cancelled()


async def test_every_way_that_a_transfer_can_go(watched: Across) -> None:
    async def walk(way: Walk) -> None:
        await way(watched)

    await asyncio.gather(*map(walk, WALKS))


async def test_a_step_that_fails_before_or_after_its_commit_is_taken_once(watched: Across) -> None:
    async def paid(step: Step, when: str) -> None:
        sender, receiver = await watched.pair()
        watched.faults[step, when, sender] = 2
        await watched.ended(await watched.start(sender, receiver), SUCCEEDED)
        assert watched.faults[step, when, sender] == 0

    async def given_back(step: Step, when: str) -> None:
        sender, receiver = await watched.pair()
        await change_wallet(watched.ledger, receiver, ChangeKind.FREEZE)
        watched.faults[step, when, sender] = 2
        await watched.ended(await watched.start(sender, receiver), FAILED, "wallet_frozen")
        assert watched.faults[step, when, sender] == 0

    whens = ("before", "after")
    steps = (SENT, RECEIVED, Step.COMPLETE_TRANSFER)
    await asyncio.gather(
        *(paid(step, when) for step in steps for when in whens),
        *(given_back(step, when) for step in (RECEIVED, Step.REVERSE_TRANSFER) for when in whens),
    )


async def test_what_has_arrived_cannot_be_cancelled(watched: Across) -> None:
    sender, receiver = await watched.pair()
    payment = await watched.start(sender, receiver)
    await watched.ended(payment, SUCCEEDED)
    sender, receiver = await watched.pair()
    held_up = (Step.COMPLETE_TRANSFER, "before", sender)
    watched.faults[held_up] = FOR_LONG
    payment = await watched.start(sender, receiver)

    async def completing() -> bool:
        return watched.faults[held_up] < FOR_LONG

    await until("the workflow has heard of it, and fails to complete it", completing)
    assert await refusal_of(cancel(payment)) == "cannot_cancel"
    watched.faults.clear()
    await watched.ended(payment, SUCCEEDED)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_worker_that_is_killed_at_every_step_loses_and_doubles_nothing(
    tmp_path: Path, bare_servers: Servers, databases: Databases
) -> None:
    """kill -9, once before and once after each step; whoever is on its way then goes on with the next worker."""
    with across_stage(tmp_path / "across", bare_servers.settings, databases) as settings:
        async with open_across(settings, working=False) as across:
            pairs = [await across.pair() for _ in range(6)]
            frozen = pairs[:2]
            for _, receiver in frozen:
                await change_wallet(across.ledger, receiver, ChangeKind.FREEZE)
            payments = [await across.ask(sender, receiver, timedelta(seconds=2)) for sender, receiver in pairs]
            deaths = await _work_to_the_end(tmp_path, across, payments)
            for payment, wallets in zip(payments, pairs, strict=True):
                given_back = wallets in frozen
                await across.ended(payment, *((FAILED, "wallet_frozen") if given_back else (SUCCEEDED,)))
            await across.demand_sound()
    assert deaths == 8


async def _work_to_the_end(home: Path, across: Across, payments: list[Payment]) -> int:
    """Start a worker again whenever it has died, until all have ended; how often it has."""
    environment = {
        "SAGAPAY_STATE_DIR": str(home),
        "SAGAPAY_SHARD_URLS": ",".join(across.settings.shard_urls),
        "SAGAPAY_TEMPORAL_ADDRESS": across.settings.temporal_address,
        "SAGAPAY_LOG_LEVEL": "WARNING",
    }
    argv = [sys.executable, "-m", "tests.workflow.dying_worker", str(home)]
    command = Command(name="worker", argv=argv, log=home / "worker.log", environment=environment)
    ended = asyncio.gather(*(payment.handle.result() for payment in payments))
    deaths, worker = 0, Child(command)
    try:
        while not ended.done():
            await across.demand_no_more_claimed_than_owed()
            await asyncio.sleep(0.05)
            if worker.code is not None:
                assert worker.code == -signal.SIGKILL, command.log.read_text()
                deaths, worker = deaths + 1, Child(command)
    finally:
        worker.stop(5)
    return deaths
