"""The measurements: rates searched, latencies at half of them, the compared kinds always in turns."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final

from benchmarks.load import Kind, Outcome, Plan
from benchmarks.processes import spent
from benchmarks.site import Site
from benchmarks.trial import Search, Trial, carry_out, merged, percentile

FIRST_GUESS: Final = 0.9
"""Of what a closed loop reaches: where a search begins."""

PEERS: Final = (Kind.BARE, Kind.BARE_SAGA, Kind.ENDPOINT)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Push:
    """How a kind is brought to its limit: callers of the closed loop, requests in flight, generator processes."""

    at_once: int = 16
    most_in_flight: int = 500
    generators: int = 1


PUSH: Final = {Kind.EXPRESS: Push(256, 2000), Kind.ENDPOINT: Push(128, 2000, 2)}
"""What is answered within a millisecond or two wants more of all of them than a workflow."""


@dataclass(frozen=True)
class Effort:
    """How long a run takes."""

    people: int
    rounds: int
    trials: int
    warm_seconds: float
    trial_seconds: float
    slices: int
    slice_seconds: float


QUICK: Final = Effort(people=16, rounds=1, trials=4, warm_seconds=3, trial_seconds=4, slices=2, slice_seconds=4)
FULL: Final = Effort(people=100, rounds=3, trials=5, warm_seconds=8, trial_seconds=10, slices=4, slice_seconds=15)


@dataclass
class Findings:
    """Everything that was measured, by kind."""

    effort: Effort
    up_seconds: float
    load_before: float
    """The machine's load average before the run: what else it was doing."""
    trials: list[Trial] = field(default_factory=list)
    rates: dict[Kind, list[float]] = field(default_factory=dict)
    """The rate found in each round, per second."""
    latencies: dict[Kind, Trial] = field(default_factory=dict)
    verified: dict[Kind, bool] = field(default_factory=dict)

    def rate(self, kind: Kind) -> float:
        """The median of the rounds."""
        return median(self.rates[kind])


class Session:
    """One run over a site; `say` is told what happens."""

    def __init__(self, site: Site, effort: Effort, say: Say) -> None:
        self._site, self._effort, self._say = site, effort, say
        self.findings = Findings(effort, site.up_seconds, site.load_before)

    def compare(self, kinds: Sequence[Kind]) -> None:
        """Search the rates of these kinds in turns, then their latencies at half the rate of the first, in turns.

        The machine is not equally fast at all times: what is compared shares each of its moods. Each kind is warm
        before anything counts, and every second turn goes the other way round: what one leaves behind meets all others.
        """
        for kind in kinds:
            self.saturated(kind)
        for number in range(self._effort.rounds):
            self._say(f"[bold]{' and '.join(kinds)}[/]: round {number + 1} of {self._effort.rounds}")
            self._search(kinds)
        half = self.findings.rate(kinds[0]) / 2
        self._say(f"[bold]{' and '.join(kinds)}[/]: latency at {half:.1f}/s, half of what {kinds[0]} sustains")
        self.at_rate(kinds, half)
        for kind in kinds:
            if kind not in PEERS:
                self.verify(kind)

    def at_rate(self, kinds: Sequence[Kind], rate: float) -> None:
        """Measure the latencies of these kinds at a rate, in turns."""
        slices: dict[Kind, list[Trial]] = {kind: [] for kind in kinds}
        for number in range(self._effort.slices if rate else 0):
            for kind in _in_turn(kinds, number):  # Arrivals of the same kind for each of them.
                slices[kind].append(self._trial(kind, rate, self._effort.slice_seconds, poisson_seed=number))
        for kind, trials in slices.items():
            if trials:
                self.findings.latencies[kind] = merged(trials)

    def saturated(self, kind: Kind) -> Trial:
        """As much as goes in a closed loop."""
        return self._trial(kind, None, self._effort.warm_seconds)

    def _search(self, kinds: Sequence[Kind]) -> None:
        searches = {}
        for kind in kinds:
            first = self.saturated(kind).completed_per_second * FIRST_GUESS
            searches[kind] = Search(max(1.0, first), self._effort.trials)
        turn = 0
        while not all(search.done for search in searches.values()):
            for kind in _in_turn(kinds, turn):
                search = searches[kind]
                if not search.done:
                    trial = self._trial(kind, search.rate, self._effort.trial_seconds)
                    search.note(trial.kept_up)
            turn += 1
        for kind, search in searches.items():
            self.findings.rates.setdefault(kind, []).append(search.kept)
            self._say(f"  {kind} sustains [bold]{search.kept:.1f}/s[/]")

    def plan(self, kind: Kind, rate: float | None, seconds: float, *, poisson_seed: int | None = None) -> Plan:
        """What to send next; under keys that no other trial has."""
        number = len(self.findings.trials)
        platform, push = self._site.platform, PUSH.get(kind, Push())
        return Plan(
            kind=kind,
            url=self._site.urls.get(kind, platform.api_url),
            headers={} if kind in PEERS else {"Authorization": f"Bearer {platform.app_key}"},
            accounts=self._site.accounts,
            run=f"{platform.home.name}-{number}",
            seconds=seconds,
            rate=rate,
            arrivals="even" if poisson_seed is None else "poisson",
            at_once=push.at_once,
            most_in_flight=push.most_in_flight,
            seed=number if poisson_seed is None else poisson_seed,
        )

    def _trial(self, kind: Kind, rate: float | None, seconds: float, *, poisson_seed: int | None = None) -> Trial:
        self._site.quiet()
        plan = self.plan(kind, rate, seconds, poisson_seed=poisson_seed)
        begin, before = time.monotonic(), self._site.cpu()
        trial = asyncio.run(carry_out(plan, PUSH.get(kind, Push()).generators))
        self._site.quiet()
        cpu = spent(before, self._site.cpu())
        return self.note(replace(trial, cpu_seconds=cpu, wall_seconds=time.monotonic() - begin))

    def note(self, trial: Trial) -> Trial:
        """Keep a trial, and tell of it."""
        self.findings.trials.append(trial)
        self._say(f"  {_line(trial)}")
        return trial

    def verify(self, kind: Kind) -> None:
        """Note whether every invariant holds after what was done of a kind."""
        self._site.quiet()
        clean, said = self._site.verify()
        self.findings.verified[kind] = clean
        self._say("  every invariant holds" if clean else f"[red]verify found something wrong[/]\n{said}")


def _in_turn(kinds: Sequence[Kind], turn: int) -> Sequence[Kind]:
    return kinds if turn % 2 == 0 else kinds[::-1]


def _line(trial: Trial) -> str:
    plan = trial.plan
    asked = f"{plan.at_once} at a time" if plan.rate is None else f"{plan.rate:6.1f}/s asked"
    p50 = percentile(trial.completion_ms, 50)
    lost = "".join(
        f", [red]{trial.count(outcome)} {outcome}[/]"
        for outcome in (Outcome.DROPPED, Outcome.FAILED)
        if trial.count(outcome)
    )
    searched = plan.rate is not None and plan.arrivals == "even"
    verdict = (", kept up" if trial.kept_up else ", [yellow]did not keep up[/]") if searched else ""
    return (
        f"{plan.kind:10} {asked}, {trial.completed_per_second:6.1f}/s completed, "
        f"p50 {'–' if p50 is None else f'{p50:.0f} ms'}, generator {trial.generator_load:.0%}{lost}{verdict}"
    )
