"""Record the corpus of a version: `python -m tests.replay.record v0.2` walks every path and writes its histories.

A corpus is written once, by the version that it is named for, and never again: later versions must replay it. What a
version adds later has a folder of its own: `… record v0.2-batches batch_` walks the paths whose names begin so, and
`… record v0.1-shards across_` those of transfers between shards, `… record v0.1-returns return_` those of returns. And
`… record v0.2-more unrecorded` walks what has no history anywhere yet: new paths, and what schedules run.
"""

import asyncio
import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from temporalio.client import WorkflowHistory

from domain.contracts.bank_events import BANK_EVENTS_WORKFLOW
from domain.contracts.holds import EXPIRE_HOLDS_WORKFLOW
from domain.contracts.payments import OPERATIONS_QUEUE
from domain.contracts.workflows import SWEEP_WORKFLOW
from tests.money.scratch import Databases
from tests.replay.corpus import FOLDER, histories_of, recorded, replay, secrets_in
from tests.stack.servers import running_servers
from tests.webhooks.walk import webhook_that_fails_twice
from tests.workflow.across import WALKS as ACROSS
from tests.workflow.across import Across, across_stage, open_across
from tests.workflow.batch_walks import WALKS
from tests.workflow.every_path import PATHS, run_all
from tests.workflow.returning import RETURN_WALKS
from tests.workflow.scene import Scene
from tests.workflow.stage import whole_scene

CONSOLE = Console()
UNRECORDED = "unrecorded"
# How the SDK names a process: in identities and in the names of sticky queues.
_PROCESS = re.compile(r"\b\d+@[A-Za-z0-9.]+")


async def _write(scene: Scene | Across, folder: Path, name: str, workflow_id: str) -> None:
    for number, history in enumerate(await histories_of(scene.temporal, workflow_id), start=1):
        found = secrets_in(history, scene.tokens)
        assert not found, f"{name} carries {found}"
        await replay(history)
        path = folder / (f"{name}.json" if number == 1 else f"{name}_{number}.json")
        path.write_text(_as_text(history))
        CONSOLE.print(f"{path.name}: {len(history.events)} events")


def _as_text(history: WorkflowHistory) -> str:
    """One event a line, without what tells of the machine that recorded it."""
    events = [json.dumps(_portable(event), separators=(",", ":")) for event in json.loads(history.to_json())["events"]]
    return '{"events":[\n' + ",\n".join(events) + "\n]}\n"


def _portable(node: object) -> object:
    if isinstance(node, list):
        return [_portable(item) for item in node]
    if isinstance(node, dict):
        return {name: _portable(value) for name, value in node.items() if name != "stackTrace"}
    return _PROCESS.sub("recorder", node) if isinstance(node, str) else node


async def record_operations(scene: Scene, folder: Path, known: set[str]) -> None:
    """What schedules run, with nothing to do, and webhooks tried again."""
    for name, workflow_type in {"holds_expired": EXPIRE_HOLDS_WORKFLOW, "bank_events": BANK_EVENTS_WORKFLOW}.items():
        if name in known:
            continue
        await scene.temporal.execute_workflow(workflow_type, id=name, task_queue=OPERATIONS_QUEUE)
        await _write(scene, folder, name, name)
    if (name := "webhook_retries") not in known:
        walked = await webhook_that_fails_twice(scene.settings, scene.temporal, scene.directory.engine)
        await _write(scene, folder, name, walked)


async def record_across(folder: Path, prefix: str) -> None:
    """Walk transfers between two shards, which have a scene of their own."""
    with (
        TemporaryDirectory() as home,
        running_servers(Path(home) / "servers") as servers,
        across_stage(Path(home) / "across", servers.settings, Databases(servers.settings)) as settings,
    ):
        async with open_across(settings) as across:
            for walk in (each for each in ACROSS if each.__name__.startswith(prefix)):
                await _write(across, folder, walk.__name__, (await walk(across)).handle.id)


async def record(version: str, prefix: str = "") -> None:
    """Walk all paths, those of payments at once, and keep every run's history."""
    known = {path.stem for path in recorded()}
    folder = FOLDER / version
    folder.mkdir(parents=True)
    if prefix.startswith("across_"):
        await record_across(folder, prefix)
        return
    with TemporaryDirectory() as home:
        async with whole_scene(Path(home)) as scene:
            if prefix == UNRECORDED:
                await record_operations(scene, folder, known)
            wanted = [
                name for name in PATHS if (name not in known if prefix == UNRECORDED else name.startswith(prefix))
            ]
            tasks = run_all(scene, wanted)
            for name, task in tasks.items():
                await _write(scene, folder, name, (await task).handle.id)
            for name, walk in WALKS.items():
                if name.startswith(prefix):
                    await _write(scene, folder, name, (await walk(scene)).batch_id)
            for name, returning in RETURN_WALKS.items():
                if name.startswith(prefix):
                    await _write(scene, folder, name, await returning(scene))
            if prefix:
                return
            sweeps = [item.id async for item in scene.temporal.list_workflows(f"WorkflowType = '{SWEEP_WORKFLOW}'")]
            await _write(scene, folder, "sweep", sweeps[0])


if __name__ == "__main__":
    asyncio.run(record(*sys.argv[1:]))
