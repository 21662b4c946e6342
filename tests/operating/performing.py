"""Who does which runbook: each brings a payment to where it is for, does it block by block, and sees the end."""

from collections.abc import Awaitable, Callable
from typing import Final

from tests.operating.desk import Desk
from tests.operating.runbook import Runbook

Performer = Callable[[Desk, Runbook], Awaitable[None]]

PERFORMERS: Final[dict[str, Performer]] = {}
ALONE: Final[set[str]] = set()
"""Those that nothing else can go on beside."""


def performs(reason: str, *, alone: bool = False) -> Callable[[Performer], Performer]:
    """Registers who does the runbook of a reason."""

    def register(performer: Performer) -> Performer:
        PERFORMERS[reason] = performer
        if alone:
            ALONE.add(reason)
        return performer

    return register
