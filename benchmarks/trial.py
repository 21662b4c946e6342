"""One trial: a plan carried out by the generator's process, and what its record says about the server."""

import asyncio
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.load import Outcome, Plan, Record, Sample

MAY_GROW: Final = 0.05
"""The backlog may grow by so much of what arrives in the second half of a trial; more does not look like chance."""
MAY_WAIT: Final = 0.15
"""So much of all requests may be unfinished at a trial's end; more is a backlog, wherever it grew."""
ALWAYS_ALLOWED: Final = 2


class GeneratorFailedError(RuntimeError):
    """The load generator ended without a record; the message is what it said."""


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that `percent` of all do not exceed (nearest rank); None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


@dataclass(frozen=True)
class Trial:
    """A plan and its samples, perhaps merged from several slices of the same plan."""

    plan: Plan
    samples: list[Sample]
    generator_load: float
    """Of one core, 0 to 1; where several processes generated, of the busiest."""
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    """What each process of the server's side took for it, until the last event of it was delivered."""
    wall_seconds: float = 0.0
    """The same time by the clock."""

    def count(self, outcome: Outcome) -> int:
        """How many requests ended so."""
        return sum(sample.outcome is outcome for sample in self.samples)

    @property
    def acceptance_ms(self) -> list[float]:
        """From the scheduled moment to the answer of the POST, in milliseconds."""
        return [(s.accepted - s.due) * 1000 for s in self.samples if s.accepted is not None]

    @property
    def completion_ms(self) -> list[float]:
        """From the scheduled moment until the caller knew that the payment was final, in milliseconds."""
        return [(s.completed - s.due) * 1000 for s in self.samples if s.completed is not None]

    @property
    def lateness_ms(self) -> list[float]:
        """From the scheduled moment until the generator had sent it: its own fault, not the server's."""
        return [(s.sent - s.due) * 1000 for s in self.samples if s.sent is not None]

    @property
    def completed_per_second(self) -> float:
        """Payments that ended: within the time of an open loop, until the last answer of a closed one."""
        ends = [s.completed for s in self.samples if s.completed is not None]
        seconds = self.plan.seconds if self.plan.rate is not None else max(ends, default=self.plan.seconds)
        return sum(end <= seconds for end in ends) / seconds

    @property
    def kept_up(self) -> bool:
        """Nothing dropped, nothing failed, no large backlog, and none that grew in the second half."""
        half, end = self.plan.seconds / 2, self.plan.seconds
        before, after = self._backlog_at(half), self._backlog_at(end)
        arrived = sum(half < s.due for s in self.samples)
        clean = self.count(Outcome.SUCCEEDED) == len(self.samples) > 0
        steady = after - before <= max(ALWAYS_ALLOWED, MAY_GROW * arrived)
        return clean and steady and after <= max(ALWAYS_ALLOWED, MAY_WAIT * len(self.samples))

    def _backlog_at(self, moment: float) -> int:
        return sum(s.due <= moment and (s.completed is None or s.completed > moment) for s in self.samples)


def merged(slices: Sequence[Trial]) -> Trial:
    """The samples of all slices as if they had followed each other without a pause."""
    seconds = [trial.plan.seconds for trial in slices]
    shifts = [sum(seconds[:number]) for number in range(len(slices))]
    samples = [_shifted(s, by) for trial, by in zip(slices, shifts, strict=True) for s in trial.samples]
    load = sum(trial.generator_load for trial in slices) / len(slices)
    cpu = {name: sum(trial.cpu_seconds[name] for trial in slices) for name in slices[0].cpu_seconds}
    plan = slices[0].plan.model_copy(update={"seconds": sum(seconds)})
    return Trial(plan, samples, load, cpu, sum(trial.wall_seconds for trial in slices))


def _shifted(sample: Sample, by: float) -> Sample:
    times = {name: getattr(sample, name) for name in ("due", "sent", "accepted", "completed")}
    return sample.model_copy(update={name: time + by for name, time in times.items() if time is not None})


async def carry_out(plan: Plan, generators: int = 1) -> Trial:
    """Run the plan in a process of its own, or in so many that share it. Raises GeneratorFailedError."""
    if generators == 1:
        return await _generated(plan)
    parts = await asyncio.gather(*(_generated(_part(plan, number, generators)) for number in range(generators)))
    samples = sorted((sample for part in parts for sample in part.samples), key=lambda sample: sample.due)
    return Trial(plan, samples, max(part.generator_load for part in parts))


def _part(plan: Plan, number: int, parts: int) -> Plan:
    changes = {
        "run": f"{plan.run}-{number}",
        "rate": None if plan.rate is None else plan.rate / parts,
        "at_once": max(1, plan.at_once // parts),
        "most_in_flight": max(1, plan.most_in_flight // parts),
        "seed": plan.seed * parts + number,
    }
    return plan.model_copy(update=changes)


async def _generated(plan: Plan) -> Trial:
    generator = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, said = await generator.communicate(plan.model_dump_json().encode())
    finally:
        if generator.returncode is None:
            generator.kill()
    if generator.returncode != 0:
        raise GeneratorFailedError(said.decode(errors="replace"))
    record = Record.model_validate_json(out)
    return Trial(plan, record.samples, record.cpu_seconds / record.wall_seconds)


class Search:
    """Looks for the highest rate that is kept up, `trials` at most: up in steps to the first failure, then between.

    `first` is where to begin. While no rate was kept up it goes on downwards beyond `trials`, but not for ever.
    """

    UP: Final = 1.25
    DOWN: Final = 0.8
    CLOSE: Final = 1.05

    def __init__(self, first: float, trials: int) -> None:
        self.rate = first
        self.kept = 0.0
        """The highest rate that was kept up so far."""
        self._failed: float | None = None
        self._left = trials

    def note(self, kept_up: bool) -> None:
        """The outcome of a trial at `rate`; chooses the next."""
        self._left -= 1
        if kept_up:
            self.kept = self.rate
            self.rate = self.rate * self.UP if self._failed is None else math.sqrt(self.rate * self._failed)
        else:
            self._failed = self.rate
            self.rate = math.sqrt(self.kept * self.rate) if self.kept else self.rate * self.DOWN

    @property
    def done(self) -> bool:
        """Whether another trial would say little more."""
        if self.kept == 0:
            return self._left <= -4
        return self._left <= 0 or (self._failed is not None and self._failed / self.kept < self.CLOSE)
