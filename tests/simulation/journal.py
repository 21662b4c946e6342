"""What happened in a day, for whoever has to find out why it went wrong."""

from collections import Counter
from dataclasses import dataclass, field


class SimulationFailed(Exception):
    """Something does not hold at the end of a day. Says which, what happened on that day, and how to see it again."""

    def __init__(self, seed: int, day: str, log: list[str], why: str) -> None:
        told = "\n".join(f"  {line}" for line in log)
        super().__init__(f"seed {seed}, {day}:\n{told}\n{why}\nThe same again: make simulate SEED={seed}")
        self.seed, self.day, self.why = seed, day, why


@dataclass
class Journal:
    """The lines of the current day, and counts of the whole simulation."""

    day: str = ""
    lines: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def begin(self, day: str) -> None:
        """Turn the page."""
        self.day, self.lines = day, []

    def say(self, line: str, count: str | None = None) -> None:
        """Write a line, and count it under `count`."""
        self.lines.append(line)
        if count is not None:
            self.counts[count] += 1
