"""Batches on the real servers: every way they can go replays, and a killed worker pays each transfer once."""

import asyncio
from pathlib import Path

import pytest

from domain.batches import BatchStatus
from domain.contracts.batches import BatchCounts
from tests.replay.corpus import histories_of, replay, secrets_in
from tests.workflow.batch_walks import WALKS, Payroll
from tests.workflow.scene import Scene, until
from tests.workflow.test_worker_death import running_worker

MANY = 10_000
RECEIVERS = 20
KILLS = 2
BETWEEN_KILLS = 500


@pytest.mark.parametrize("name", WALKS)
async def test_walk(scene: Scene, name: str) -> None:
    batch = await WALKS[name](scene)
    histories = await histories_of(scene.temporal, batch.batch_id)
    assert histories
    for history in histories:
        assert secrets_in(history, scene.tokens) == []
        await replay(history)


@pytest.mark.slow
async def test_a_worker_killed_in_the_middle_pays_each_transfer_once(idle_scene: Scene, tmp_path: Path) -> None:
    scene, payroll = idle_scene, Payroll(idle_scene)
    async with running_worker(tmp_path, scene.settings) as worker:
        sender = (await scene.person(balance=2 * MANY)).wallet_id
        receivers = [await scene.app.open_wallet() for _ in range(RECEIVERS)]
        batch = await payroll.accept(sender, [(receivers[number % RECEIVERS], 2) for number in range(MANY)])
        handle = await payroll.start(batch)
        for _ in range(KILLS):
            before = (await payroll.found(batch)).counts.finished

            async def under_way(wanted: int = before + BETWEEN_KILLS) -> bool:
                return (await payroll.found(batch)).counts.finished >= wanted

            await until("transfers are being made", under_way)
            worker.kill()
            assert (await payroll.found(batch)).counts.unfinished > 0
            await worker.start()
        async with asyncio.timeout(120):
            assert await handle.result() == BatchCounts(succeeded=MANY)
    assert await scene.app.money(sender) == (0, 0)
    for receiver in receivers:
        assert await scene.app.money(receiver) == (2 * MANY // RECEIVERS, 0)
        assert (await scene.app.wallet(receiver)).version == MANY // RECEIVERS
    assert (await payroll.found(batch)).status is BatchStatus.COMPLETED
