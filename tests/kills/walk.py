"""Many workflows at once: each is brought to the place of its cell, the worker is killed, another one ends them all."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from temporalio.client import WorkflowHandle

from tests.kills.stopping_worker import Side, Stops, arrived
from tests.money.scratch import Databases, settings_of
from tests.stack.bank import running_bank
from tests.stack.servers import Servers
from tests.workflow.returning import watch
from tests.workflow.scene import Scene, open_scene, until
from tests.workflow.temporal_server import running_temporal
from tests.workflow.worker_process import running_worker

PATIENCE_SECONDS: Final = 150.0
_AT_ONCE: Final = 8

Facts = Mapping[str, object]
AnyHandle = WorkflowHandle[Any, Any]


class Walk(ABC):
    """One workflow from its start to its end, as those see it who started it: they know nothing of workers.

    `CALLS` are the activities that it calls, in this order; with `GOES_ON` the last one may be called more often, or
    fewer come. `TWO_COMMITS` are those of them, counted from one, that write twice. `EXPECTED` is how it ends.
    """

    CALLS: ClassVar[Sequence[str]]
    TWO_COMMITS: ClassVar[Collection[int]] = ()
    GOES_ON: ClassVar[bool] = False
    EXPECTED: ClassVar[Facts]

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    @property
    def down(self) -> frozenset[str]:
        """Who pays while the receivers' shard is down, until the worker dies."""
        return frozenset()

    @property
    @abstractmethod
    def handle(self) -> AnyHandle:
        """The workflow; its id is known once all is prepared."""

    @abstractmethod
    async def prepare(self) -> None:
        """All that comes before; the workflow does not run yet."""

    @abstractmethod
    async def go(self) -> None:
        """To the workflow's end, with what people do meanwhile. What came back at the bank is being booked already."""

    @abstractmethod
    async def facts(self) -> Facts:
        """Where the money is, and what is told of it."""

    @classmethod
    def foresees(cls, called: Sequence[str]) -> bool:
        """Whether these calls are those that cells are about."""
        if not cls.GOES_ON:
            return list(called) == list(cls.CALLS)
        more = [cls.CALLS[-1]] * (len(called) - len(cls.CALLS))
        return list(called) == [*cls.CALLS[: len(called)], *more]


@dataclass(frozen=True)
class Cell:
    """The worker dies before, in or after this call of a walk; calls are counted from one."""

    walk: type[Walk]
    call: int
    side: Side

    @property
    def activity(self) -> str:
        """What is called."""
        return self.walk.CALLS[self.call - 1]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.walk.__name__}-{self.call}-{self.side}-{self.activity}"


@dataclass(frozen=True)
class Fate:
    """What became of a cell: `called` are the activities of its workflow, `stopped_at` the one at which it was killed.

    `attempts` is how often that one was begun; `ended` says that the walk came to its end.
    """

    ended: bool
    facts: Facts
    called: Sequence[str]
    stopped_at: str
    attempts: int


def cells_of(walks: Sequence[type[Walk]]) -> list[Cell]:
    """Before and after every call of these walks, and between two commits."""
    return [
        Cell(walk, call, side)
        for walk in walks
        for call in range(1, len(walk.CALLS) + 1)
        for side in Side
        if side is not Side.BETWEEN or call in walk.TWO_COMMITS
    ]


@asynccontextmanager
async def kill_scene(home: Path, servers: Servers, databases: Databases) -> AsyncIterator[Scene]:
    """A scene without workers: two shards, a bank and a Temporal server of its own."""
    with (
        databases.shards(2) as shards,
        running_bank(home / "bank") as bank,
        running_temporal(home / "temporal", settings_of(shards, servers.settings, bank_url=bank.url)) as settings,
    ):
        async with open_scene(settings, bank) as scene:
            yield scene


async def fates_of(scene: Scene, cells: Sequence[Cell], home: Path) -> Mapping[Cell, Fate]:
    """Kill a worker at every cell; what came of each. `home` is an empty folder."""
    words = ("-m", "tests.kills.stopping_worker", str(home))
    walks = {cell: cell.walk(scene) for cell in cells}
    async with running_worker(home, scene.settings, *words, SAGAPAY_DATABASE_TIMEOUT_SECONDS="60") as worker:
        await _prepare(list(walks.values()))
        places = {walk.handle.id: (cell.call, cell.side) for cell, walk in walks.items()}
        Stops(places, frozenset().union(*(walk.down for walk in walks.values()))).write(home)
        await watch(scene)
        async with asyncio.TaskGroup() as group:
            going = {cell: group.create_task(_go(walk)) for cell, walk in walks.items()}
            await until("all have arrived", lambda: _all_arrived(home, places), PATIENCE_SECONDS)
            worker.kill()
            Stops.clear(home)
            await worker.start()
    stopped = arrived(home)
    return {
        cell: await _fate(cell, walk, going[cell].result(), stopped[walk.handle.id]) for cell, walk in walks.items()
    }


async def _go(walk: Walk) -> bool:
    """Whether it has come to its end: one that does not is not to hide what became of the others."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await walk.go()
    except TimeoutError:
        return False
    return True


async def _prepare(walks: Sequence[Walk]) -> None:
    places = asyncio.Semaphore(_AT_ONCE)

    async def prepare(walk: Walk) -> None:
        async with places:
            await walk.prepare()

    await asyncio.gather(*map(prepare, walks))


async def _all_arrived(home: Path, places: Mapping[str, object]) -> bool:
    return arrived(home).keys() == places.keys()


async def _fate(cell: Cell, walk: Walk, ended: bool, stopped_at: str) -> Fate:
    called: dict[int, str] = {}
    attempts = 0
    for event in (await walk.handle.fetch_history()).events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            called[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
        if event.HasField("activity_task_started_event_attributes"):
            begun = event.activity_task_started_event_attributes
            if list(called).index(begun.scheduled_event_id) + 1 == cell.call:
                attempts = begun.attempt
    return Fate(ended, await walk.facts(), list(called.values()), stopped_at, attempts)
