"""Transfers between shards while the ledger fails at every step; invariant 7 is watched all the while."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.contracts.wallets import ChangeKind
from domain.transactions import Step
from tests.money.requests import change_wallet
from tests.money.scratch import Databases
from tests.stack.servers import Servers
from tests.workflow.across import FAILED, FOR_LONG, SUCCEEDED, WALKS, Across, Walk, across_stage, open_across
from tests.workflow.operators import cancel, refusal_of
from tests.workflow.scene import until

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
