"""The worker as a process of its own, killed again and again between and within the steps of payments."""

import asyncio
from pathlib import Path

import pytest

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.transactions import TransactionStatus
from tests.workflow.scene import OPENING, Scene
from tests.workflow.worker_process import running_worker

SUCCEEDED = TransactionStatus.SUCCEEDED
ROUNDS = 3


@pytest.mark.slow
async def test_a_killed_worker_loses_and_doubles_nothing(idle_scene: Scene, tmp_path: Path) -> None:
    scene = idle_scene
    async with running_worker(tmp_path, scene.settings) as worker:
        people = await asyncio.gather(*(scene.person(balance=1_000) for _ in range(4)))
        slow, silent, later, paired = people
        await scene.misbehave(slow, FaultKind.SLOW, times=2, seconds=1)
        await scene.misbehave(silent, FaultKind.TIMEOUT_AFTER, Operation.PUSH, times=2)
        await scene.misbehave(later, FaultKind.SETTLE_LATER, seconds=3)
        payments = [await scene.withdraw(person, 300) for person in people]
        payments += [await scene.deposit(person, 200) for person in people]
        for _ in range(ROUNDS):
            worker.kill()
            await worker.start()
            payments += [await scene.transfer(slow, paired, 10), await scene.withdraw(silent, 20)]
            await asyncio.sleep(0.3)
        for payment in payments:
            await scene.finish(payment, SUCCEEDED)
    assert await scene.all_of(slow) == (900 - 10 * ROUNDS, 0, OPENING - 900)
    assert await scene.all_of(silent) == (900 - 20 * ROUNDS, 0, OPENING - 900 + 20 * ROUNDS)
    assert await scene.all_of(later) == (900, 0, OPENING - 900)
    assert await scene.all_of(paired) == (900 + 10 * ROUNDS, 0, OPENING - 900)
