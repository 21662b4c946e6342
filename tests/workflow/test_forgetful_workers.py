"""Workers that forget a workflow as soon as another has a task replay its history again and again.

Any chance or clock in it would show. They keep one, not none: without any place the SDK's core cancels local
activities under way, and a task is lost for its ten seconds each time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkerConfig

from tests.workflow import (
    batch_walks,
    paths_bank_accounts,
    paths_bank_trouble,
    paths_cancelled,
    paths_operators,
    paths_parked,
    paths_plain,
    paths_rails,
    paths_ruled,
    paths_slow_ledger,
    returning,
)
from tests.workflow.paths import run_all
from tests.workflow.scene import Payment, Scene, working

QUICK = [
    paths_plain.transfer_paid,
    paths_plain.deposit_settled_later,
    paths_plain.withdrawal_refused,
    paths_bank_trouble.withdrawal_unknown_then_found,
    paths_bank_trouble.deposit_bank_down_then_back,
    paths_parked.withdrawal_parked_then_retried,
    paths_parked.withdrawal_settlement_parked_then_back,
    paths_cancelled.withdrawal_cancelled_in_the_ui,
]
MORE = [
    paths_bank_accounts.bank_event_wakes_a_deposit,
    paths_cancelled.deposit_cancelled_while_parked,
    paths_operators.withdrawal_continued_as_new,
    paths_operators.withdrawal_reset_while_it_is_cancelled,
    paths_rails.rails_withdrawal_falls_back_to_ach,
    paths_ruled.deposit_resolved_as_not_paid,
    paths_ruled.withdrawal_resolved_as_paid,
    paths_slow_ledger.withdrawal_held_up_in_the_ledger,
]
"""With QUICK one of each kind. What every path has just written is replayed in test_paths, too."""
BATCHES = [batch_walks.batch_paid, batch_walks.batch_parked_then_retried]
RETURNS = [returning.return_booked, returning.return_watched]


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
async def forgetful(idle_scene: Scene) -> AsyncIterator[Scene]:
    """A scene with forgetful workers."""
    config = idle_scene.temporal.config()
    config["plugins"] = [Forgetful()]
    scene = replace(idle_scene, temporal=Client(**config))
    async with working(scene):
        yield scene


@pytest.fixture(scope="module")
async def walks(forgetful: Scene, request: pytest.FixtureRequest) -> AsyncIterator[dict[str, asyncio.Task[Payment]]]:
    """The selected paths, under way side by side."""
    wanted = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    tasks = run_all(forgetful, [path.__name__ for path in (*QUICK, *MORE) if path.__name__ in wanted])
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize(
    "name",
    [
        *(path.__name__ for path in QUICK),
        *(pytest.param(path.__name__, marks=pytest.mark.slow) for path in MORE),
    ],
)
async def test_path(name: str, walks: dict[str, asyncio.Task[Payment]]) -> None:
    await walks[name]


@pytest.mark.slow
@pytest.mark.parametrize("walk", BATCHES, ids=lambda walk: walk.__name__)
async def test_batch(walk: batch_walks.Walk, forgetful: Scene) -> None:
    await walk(forgetful)


@pytest.mark.slow
@pytest.mark.parametrize("walk", RETURNS, ids=lambda walk: walk.__name__)
async def test_return(walk: Callable[[Scene], Awaitable[str]], forgetful: Scene) -> None:
    await walk(forgetful)
