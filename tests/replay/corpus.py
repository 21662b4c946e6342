"""The corpus: histories of every path, a folder for each version that wrote them; what a replay needs."""

import base64
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

from infra.temporal import DATA_CONVERTER
from tests.workflow.scene import EMAIL, NAME
from worker import WORKFLOW_RUNNER, WORKFLOWS

FOLDER: Final = Path(__file__).with_name("histories")

# Tokens of the simulated bank, anything like an e-mail address (PROCESS@MACHINE is none), and the one name that
# everybody here has.
_SECRET: Final = re.compile(
    rf"\b(?:at|link|public)_[0-9a-f]{{8,}}|\b(?!\d+@)[\w.+-]+@[\w-]+\.\w+|{re.escape(NAME)}|\bsk_\w+"
)
assert _SECRET.search(EMAIL)


def recorded() -> list[Path]:
    """All committed histories."""
    return sorted(FOLDER.glob("*/*.json"))


def read(path: Path) -> WorkflowHistory:
    """A committed history."""
    return WorkflowHistory.from_json(path.stem, path.read_text())


def replayer(*workflows: type) -> Replayer:
    """Replays as a worker in production would run: same converter, same sandbox. By default all workflows."""
    return Replayer(
        workflows=workflows or [kind for kinds in WORKFLOWS.values() for kind in kinds],
        data_converter=DATA_CONVERTER,
        workflow_runner=WORKFLOW_RUNNER,
    )


async def replay(history: WorkflowHistory) -> None:
    """Raises what a worker would fail on, e.g. temporalio.workflow.NondeterminismError."""
    await replayer().replay_workflow(history)


async def histories_of(client: Client, workflow_id: str) -> list[WorkflowHistory]:
    """The history of every run of a workflow that Temporal still has, oldest first."""
    runs = [item async for item in client.list_workflows(f"WorkflowId = '{workflow_id}'")]
    return [
        await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        for run in sorted(runs, key=lambda run: run.start_time)
    ]


def secrets_in(history: WorkflowHistory, tokens: Collection[str] = ()) -> list[str]:
    """What may stand in no history: account tokens, e-mail addresses, names."""
    found = []
    for text in _texts(json.loads(history.to_json())):
        found += _SECRET.findall(text)
        found += [token for token in tokens if token in text]
    return found


def _texts(node: object) -> Iterator[str]:
    """Every text of a history, payloads as their own text."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "data" and isinstance(value, str):
                yield base64.b64decode(value).decode()
            else:
                yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node
