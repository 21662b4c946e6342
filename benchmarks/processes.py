"""What processes have taken of the processor, from /proc."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes, and of their children that have ended."""
    taken = 0
    for pid in pids:
        with suppress(OSError):  # It has ended, and is in its parent's time.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            taken += sum(int(ticks) for ticks in fields[11:15])
    return taken / _TICKS


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each has taken since."""
    return {name: after[name] - seconds for name, seconds in before.items()}
