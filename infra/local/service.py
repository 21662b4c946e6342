"""What the supervisor knows of one process: how to prepare it, run it, and tell that it is ready."""

from collections.abc import Callable
from dataclasses import dataclass

from infra.local.child import Command


def _nothing() -> None:
    """Many processes need no preparation."""


@dataclass(frozen=True)
class Service:
    """A process as data. `before_start` and `once_up` run again at each restart, so they are idempotent."""

    command: Command
    is_ready: Callable[[int], bool]
    """Given its pid: does it answer? Asked often while it starts, so it is quick and raises nothing."""
    before_start: Callable[[], None] = _nothing
    once_up: Callable[[], None] = _nothing
    """Runs once it is ready and before anything else may use it."""

    @property
    def name(self) -> str:
        """The name it has in stack.json, in its log's file name and in messages."""
        return self.command.name
