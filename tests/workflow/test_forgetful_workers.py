"""Workers that forget a workflow as soon as another has a task replay its history again and again.

Any chance or clock in it would show. They keep one, not none: without any place the SDK's core cancels local
activities under way, and a task is lost for its ten seconds each time.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkerConfig

from tests.workflow import paths_bank_trouble, paths_cancelled, paths_parked, paths_plain
from tests.workflow.paths import run_all
from tests.workflow.scene import Payment, Scene, working

PATHS = [
    paths_plain.transfer_paid,
    paths_plain.deposit_settled_later,
    paths_plain.withdrawal_refused,
    paths_bank_trouble.withdrawal_unknown_then_found,
    paths_bank_trouble.deposit_bank_down_then_back,
    paths_parked.withdrawal_parked_then_retried,
    paths_parked.withdrawal_settlement_parked_then_back,
    paths_cancelled.withdrawal_cancelled_in_the_ui,
]


class Forgetful(SimplePlugin):
    """Workers with a memory of one; a workflow that does not replay fails, instead of being tried for ever."""

    def __init__(self) -> None:
        super().__init__("forgetful")

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """See the class."""
        config = super().configure_worker(config)
        config["max_cached_workflows"] = 1
        config["workflow_failure_exception_types"] = [workflow.NondeterminismError]
        return config


@pytest.fixture(scope="module")
async def walks(idle_scene: Scene) -> AsyncIterator[dict[str, asyncio.Task[Payment]]]:
    """The paths, under way side by side."""
    config = idle_scene.temporal.config()
    config["plugins"] = [Forgetful()]
    scene = replace(idle_scene, temporal=Client(**config))
    async with working(scene):
        yield run_all(scene, [path.__name__ for path in PATHS])


@pytest.mark.parametrize("name", [path.__name__ for path in PATHS])
async def test_path(name: str, walks: dict[str, asyncio.Task[Payment]]) -> None:
    await walks[name]
