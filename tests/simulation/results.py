"""What came of the simulations: kept as it comes, so that a second start goes on, and told in the docs."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from tests.house.tree import ROOT
from tests.simulation.journal import SimulationFailed
from tests.simulation.play import Result

PAGE: Final = ROOT / "docs/reference/simulation.md"
KEPT: Final = ROOT / "docs/reference/simulated-seeds.jsonl"


@dataclass(frozen=True, slots=True)
class Played:
    """One simulation; `failure` says where and why it is not clean."""

    seed: int
    seconds: float
    days: int = 0
    payments: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    failure: str | None = None
    commit: str = ""
    """What was played, as git names it."""


@dataclass
class Results:
    """By seed; written to a file as they come, if there is one."""

    by_seed: dict[int, Played] = field(default_factory=dict)
    file: Path | None = None

    @classmethod
    def kept(cls) -> Self:
        """With what earlier starts have found clean; what failed is played again."""
        lines = KEPT.read_text().splitlines() if KEPT.exists() else []
        played = [Played(**json.loads(line)) for line in lines]
        return cls({each.seed: each for each in played if each.failure is None}, KEPT)

    def clean(self, result: Result, seconds: float) -> None:
        """Nothing was wrong."""
        counts = dict(result.counts)
        self._add(
            Played(
                result.seed,
                round(seconds, 1),
                days=result.days,
                payments=result.payments,
                counts=counts,
                commit=_commit(),
            )
        )

    def failed(self, failure: SimulationFailed, seconds: float) -> None:
        """Something was."""
        self._add(Played(failure.seed, round(seconds, 1), failure=f"{failure.day}: {failure.why}", commit=_commit()))

    def _add(self, played: Played) -> None:
        self.by_seed[played.seed] = played
        if self.file is not None:
            with self.file.open("a") as file:
                file.write(json.dumps(asdict(played)) + "\n")

    def write_page(self) -> None:
        """The page anew: what stands before its first heading is written by hand."""
        by_hand = PAGE.read_text().partition("## Result")[0]
        PAGE.write_text(by_hand + "\n".join(self._lines()) + "\n")

    def _lines(self) -> Iterator[str]:
        played = sorted(self.by_seed.values(), key=lambda each: each.seed)
        clean = [each for each in played if each.failure is None]
        counts: Counter[str] = Counter()
        for each in clean:
            counts.update(each.counts)
        seconds = sorted(each.seconds for each in clean)
        yield "## Result"
        yield ""
        yield "| | in all clean simulations |"
        yield "|---|---:|"
        yield f"| seeds played | {len(played)} |"
        yield f"| clean | {len(clean)} |"
        yield f"| days | {sum(each.days for each in clean):,} |"
        yield f"| payments | {sum(each.payments for each in clean):,} |"
        for name, count in sorted(counts.items()):
            yield f"| {name} | {count:,} |"
        if seconds:
            yield f"| seconds a seed, median and longest | {seconds[len(seconds) // 2]:.0f}, {seconds[-1]:.0f} |"
        for each in played:
            if each.failure is not None:
                yield ""
                yield f"Seed {each.seed} failed on {each.failure.splitlines()[0]}"


def _commit() -> str:
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
