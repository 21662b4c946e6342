"""A Temporal server of a test's own, so that no other test's workers take its tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from infra.local.probes import free_ports
from infra.local.servers import temporal
from infra.local.settings import LocalSettings
from infra.local.stack import Stack
from infra.settings import Settings

GRACE_SECONDS = 5.0
# A closed workflow is deleted once its last tasks are known to be done, which is looked at every half minute.
QUICK_TO_DELETE = (
    'history.transferProcessorUpdateAckInterval="500ms"',
    'history.visibilityProcessorUpdateAckInterval="500ms"',
)


@contextmanager
def running_temporal(home: Path, base: Settings, *, suggest_continue_as_new_events: int = 4096) -> Iterator[Settings]:
    """`base`, but with a Temporal server started for this block. It suggests a new run after that many events."""
    port, ui = free_ports(2)
    service = temporal(home, LocalSettings(temporal_port=port, temporal_ui_port=ui))
    dynamic = [f"limit.historyCount.suggestContinueAsNew={suggest_continue_as_new_events}", *QUICK_TO_DELETE]
    words = [word for value in dynamic for word in ("--dynamic-config-value", value)]
    command = replace(service.command, argv=[*service.command.argv, *words])
    stack = Stack()
    try:
        stack.start([replace(service, command=command)])
        stack.wait_ready()
        yield base.model_copy(
            update={"temporal_address": f"127.0.0.1:{port}", "temporal_ui_url": f"http://127.0.0.1:{ui}"}
        )
    finally:
        stack.stop(GRACE_SECONDS)
