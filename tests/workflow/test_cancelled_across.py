"""A transfer between shards, cancelled at every place where it waits: its money is at one end, none is on its way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from domain.contracts.payments import PaymentRequest, RetryPlan
from domain.contracts.wallets import ChangeKind
from domain.ids import WalletId
from domain.transactions import Step, TransactionStatus
from infra.temporal import connect
from tests.money.requests import change_wallet
from tests.money.scratch import Databases
from tests.stack.servers import Servers
from tests.workflow import starting
from tests.workflow.across import AMOUNT, OPENING, Across, across_stage, open_across
from tests.workflow.cancelling import Gate, Handle, Place, Stop, by_cancellation, by_update, gated, places_of, stop_at

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

AT_ONCE = 12
SOON = RetryPlan(quick_retry_seconds=1, slow_retry_seconds=1)
FAILS_UNTIL_IT_HAS_PARKED = 12

Prepared = Callable[[Across, WalletId, WalletId], None]


@pytest.fixture(scope="module")
async def stage(
    tmp_path_factory: pytest.TempPathFactory, bare_servers: Servers, databases: Databases
) -> AsyncIterator[tuple[Across, Gate]]:
    """Two shards whose workers pass a gate. At the end not a cent may be off."""
    with across_stage(tmp_path_factory.mktemp("across"), bare_servers.settings, databases) as settings:
        client, gate = gated(await connect(settings))
        async with open_across(settings, temporal=client) as across:
            yield across, gate
            await across.demand_sound()


def _plain(across: Across, sender: WalletId, receiver: WalletId) -> None:
    """Nothing is in its way."""


def _parks(across: Across, sender: WalletId, receiver: WalletId) -> None:
    """The receiver's shard is away until the transfer has parked."""
    across.faults[Step.RECEIVE_TRANSFER, "before", sender] = FAILS_UNTIL_IT_HAS_PARKED


async def _demand_at_one_end(across: Across, request: PaymentRequest) -> None:
    recorded = await across.ledger.transaction(request.transaction_id)
    assert recorded is not None
    assert recorded.status.final
    assert recorded.attention is None
    moved = AMOUNT if recorded.status is TransactionStatus.SUCCEEDED else 0
    assert request.source_wallet_id is not None
    assert request.destination_wallet_id is not None
    assert await across.app.money(request.source_wallet_id) == (OPENING - moved, 0)
    assert await across.app.money(request.destination_wallet_id) == (moved, 0)


@pytest.mark.parametrize(
    ("prepare", "frozen"), [(_plain, False), (_plain, True), (_parks, False)], ids=["taken", "refused", "parks"]
)
async def test_a_transfer_between_shards(stage: tuple[Across, Gate], prepare: Prepared, frozen: bool) -> None:
    across, gate = stage
    asked: list[PaymentRequest] = []
    places = asyncio.Semaphore(AT_ONCE)

    async def start(place: Place | None) -> Handle:
        sender, receiver = await across.pair()
        if frozen:
            await change_wallet(across.ledger, receiver, ChangeKind.FREEZE)
        prepare(across, sender, receiver)
        request = replace(across.request(sender, receiver), plan=SOON)
        gate.watch(request.workflow_id, place)
        asked.append(request)
        return await starting.start_transfer(across.temporal, request)

    async def stopped(place: Place, stop: Stop) -> None:
        async with places:
            handle = await start(place)
            await stop_at(gate, place, handle, stop)
            async with asyncio.timeout(60):
                await handle.result()

    undisturbed = await start(None)
    await undisturbed.result()
    found = await places_of(gate, undisturbed)
    assert {place.name for place in found} >= {Step.SETTLE_TRANSFER, Step.RECEIVE_TRANSFER}
    await asyncio.gather(*(stopped(place, stop) for place in found for stop in (by_cancellation, by_update)))
    for request in asked:
        await _demand_at_one_end(across, request)
