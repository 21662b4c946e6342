"""A worker whose activities stop right before they begin, right after their last commit, or between two commits of
theirs, until it is killed there.

`python -m tests.kills.stopping_worker FOLDER`: FOLDER/stops.json says where, a file in FOLDER/arrived, named by the
workflow and the activity, says that it is there. Without stops it works like any other.
"""

import asyncio
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NoReturn

import temporalio.client
import temporalio.worker
from pydantic import TypeAdapter
from temporalio import activity

import worker
from bank_adapters.registry import open_bank
from bank_adapters.simulated.adapter import SimulatedBank
from domain.contracts.operators import ActionClaim, OperatorAction
from domain.contracts.payments import Failure, PaymentRequest, StepResult
from domain.contracts.suspense import Clearance, Clearing, SuspenseItem
from domain.errors import LedgerUnavailable
from infra.settings import settings
from ledger.local import LocalLedger
from tests.workflow.worker_process import work_for
from workflows import returns, transfer_batch

TRANSFERS_OF_A_SLICE: Final = 2
"""So that a batch of a few transfers has several."""
DEATH_NOTICED_AFTER: Final = timedelta(seconds=10)
"""Of an activity that does not beat; as long as one that does."""
BATCHES_AT_ONCE: Final = 100
"""Each slice that has stopped keeps its place."""


class Side(StrEnum):
    """Of an activity: before it has done anything, between two commits, or when all is done and nobody knows."""

    BEFORE = "before"
    BETWEEN = "between"
    AFTER = "after"


@dataclass(frozen=True)
class Stops:
    """At which call of each workflow its worker dies, counted from one; and whose receivers' shard is down meanwhile.

    `down` are wallets that pay.
    """

    places: dict[str, tuple[int, Side]] = field(default_factory=dict)
    down: frozenset[str] = frozenset()

    def write(self, folder: Path) -> None:
        """For the worker, which may be reading already."""
        _arrivals(folder).mkdir(exist_ok=True)
        unfinished = folder / "stops.new"
        unfinished.write_bytes(_STOPS.dump_json(self))
        unfinished.replace(_file(folder))

    @staticmethod
    def clear(folder: Path) -> None:
        """The next worker does not stop."""
        _file(folder).unlink()

    @staticmethod
    def read(folder: Path) -> "Stops":
        """None, where none are written yet."""
        return _STOPS.validate_json(_file(folder).read_bytes()) if _file(folder).exists() else Stops()


_STOPS: Final = TypeAdapter(Stops)


def _file(folder: Path) -> Path:
    return folder / "stops.json"


def _arrivals(folder: Path) -> Path:
    return folder / "arrived"


def arrived(folder: Path) -> dict[str, str]:
    """The activity at which each workflow has stopped."""
    return dict(file.name.rsplit("@", 1) for file in _arrivals(folder).iterdir())


class Stopping(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """Stops activities where it is told to. As the client's it is that of all its workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stops = Stops()
        self._stopped: set[str] = set()

    @property
    def stops(self) -> Stops:
        """Once there are any they do not change."""
        if not self._stops.places:
            self._stops = Stops.read(self._folder)
        return self._stops

    def intercept_activity(
        self, following: temporalio.worker.ActivityInboundInterceptor
    ) -> temporalio.worker.ActivityInboundInterceptor:
        """See the SDK."""
        return _Stop(following, self)

    def side(self) -> Side | None:
        """On which side the activity that is running is to stop, if it is."""
        called = activity.info()
        place = self.stops.places.get(called.workflow_id or "")
        return place[1] if place is not None and str(place[0]) == called.activity_id else None

    @property
    def has_stopped(self) -> bool:
        """Whether the workflow is at its place: a call that is given up for dead is followed by another."""
        return activity.info().workflow_id in self._stopped

    async def stop_here(self) -> NoReturn:
        """Say so, and wait for death."""
        called = activity.info()
        assert called.workflow_id is not None
        self._stopped.add(called.workflow_id)
        (_arrivals(self._folder) / f"{called.workflow_id}@{called.activity_type}").touch()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


class _Stop(temporalio.worker.ActivityInboundInterceptor):
    def __init__(self, following: temporalio.worker.ActivityInboundInterceptor, stopping: Stopping) -> None:
        super().__init__(following)
        self._stopping = stopping

    async def execute_activity(self, call: temporalio.worker.ExecuteActivityInput) -> Any:
        """See the SDK."""
        side = self._stopping.side()
        if side is Side.BEFORE or (side is not None and self._stopping.has_stopped):
            await self._stopping.stop_here()
        result = await super().execute_activity(call)
        if side is Side.AFTER:
            await self._stopping.stop_here()
        return result


class LameLedger:
    """The real ledger, but for some who pay the shard of those whom they pay is down.

    Who writes twice may stop after the first.
    """

    def __init__(self, ledger: LocalLedger, stopping: Stopping) -> None:
        self._ledger = ledger
        self._stopping = stopping

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def receive_transfer(self, request: PaymentRequest, failure: Failure | None = None) -> StepResult:
        """See LedgerService."""
        if request.source_wallet_id in self._stopping.stops.down:
            raise LedgerUnavailable("A test.")
        return await self._ledger.receive_transfer(request, failure)

    async def take_action(self, claim: ActionClaim) -> OperatorAction:
        """See LedgerService. Before a return is cleared."""
        action = await self._ledger.take_action(claim)
        await self._stop_between()
        return action

    async def clear_suspense(self, clearing: Clearing) -> SuspenseItem:
        """See LedgerService. With a matched one its payment is taken back afterwards."""
        item = await self._ledger.clear_suspense(clearing)
        if item.cleared_as is Clearance.MATCHED:
            await self._stop_between()
        return item

    async def _stop_between(self) -> None:
        if self._stopping.side() is Side.BETWEEN:
            await self._stopping.stop_here()


async def work(folder: Path) -> None:
    """Polls every queue until it is killed."""
    transfer_batch.SLICE = TRANSFERS_OF_A_SLICE  # type: ignore[misc]
    returns._ATTEMPT = DEATH_NOTICED_AFTER  # type: ignore[misc]
    worker.BATCHES_AT_ONCE = BATCHES_AT_ONCE  # type: ignore[misc]
    stopping = Stopping(folder)
    bank = open_bank(SimulatedBank.NAME, settings())
    await work_for(
        {bank.name: bank}, settings(), interceptor=stopping, dressed=lambda ledger: LameLedger(ledger, stopping)
    )


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
