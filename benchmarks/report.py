"""From findings to figures, raw results and the page."""

import csv
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.figures import RESULTS, Figure, Figures
from benchmarks.load import Kind, Outcome
from benchmarks.measure import Findings
from benchmarks.trial import Trial, percentile

RATE_RATIO_TARGET: Final = 0.8
SAGA_RATIO_TARGET: Final = 0.7
P50_RATIO_TARGET: Final = 1.5
ACCEPTANCE_P99_TARGET_MS: Final = 200
UP_TARGET_SECONDS: Final = 20
LATENESS_TARGET_MS: Final = 20


def figures_of(found: Findings, command: str) -> Figures:
    """All figures of a run, by their stable names."""
    figures: Figures = {"up_to_ready": Figure.of(found.up_seconds, "s", "lower", command, UP_TARGET_SECONDS)}
    for kind in found.rates:
        figures |= kind_figures(found, kind, command)
    if {Kind.TRANSFER, Kind.BARE} <= found.rates.keys():
        figures |= _against_bare(found, command)
    for kind in (Kind.DEPOSIT, Kind.WITHDRAWAL):
        if {kind, Kind.BARE_SAGA} <= found.rates.keys():
            ratio = median_ratio(found.rates[kind], found.rates[Kind.BARE_SAGA])
            figures[f"{kind}_to_bare_rate"] = Figure.of(ratio, "×", "higher", command, SAGA_RATIO_TARGET)
    figures |= {
        f"{kind}_verified": Figure.of(int(clean), "of 1", "higher", command, 1)
        for kind, clean in found.verified.items()
    }
    lateness = [late for trial in found.latencies.values() for late in trial.lateness_ms]
    figures["generator_lateness_p99"] = Figure.of(percentile(lateness, 99), "ms", "lower", command, LATENESS_TARGET_MS)
    return figures


def kind_figures(found: Findings, kind: Kind, command: str) -> Figures:
    """What a kind sustains, and its latencies at half of that."""
    rate = Figure.of(found.rate(kind), "/s", "higher", command)
    return {f"{kind}_rate": rate, **_latency_figures(kind, found.latencies.get(kind), command)}


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Of the same rounds, in which both had the same machine."""
    return percentile([mine / its for mine, its in zip(ours, theirs, strict=True) if its], 50)


def _latency_figures(kind: Kind, trial: Trial | None, command: str) -> Figures:
    acceptance, completion = (trial.acceptance_ms, trial.completion_ms) if trial else ([], [])
    target = ACCEPTANCE_P99_TARGET_MS if kind in (Kind.TRANSFER, Kind.EXPRESS) else None
    figures = {
        f"{kind}_acceptance_p50": Figure.of(percentile(acceptance, 50), "ms", "lower", command),
        f"{kind}_acceptance_p99": Figure.of(percentile(acceptance, 99), "ms", "lower", command, target),
        f"{kind}_completion_p50": Figure.of(percentile(completion, 50), "ms", "lower", command),
        f"{kind}_completion_p99": Figure.of(percentile(completion, 99), "ms", "lower", command),
    }
    for outcome in (Outcome.DROPPED, Outcome.FAILED):
        lost = trial.count(outcome) if trial else None
        figures[f"{kind}_{outcome}"] = Figure.of(lost, "requests", "lower", command, 0)
    return figures


def _against_bare(found: Findings, command: str) -> Figures:
    """The ratio of latencies is of slices in turns."""
    rates = median_ratio(found.rates[Kind.TRANSFER], found.rates[Kind.BARE])
    p50s = [
        percentile(found.latencies[kind].completion_ms, 50) if kind in found.latencies else None
        for kind in (Kind.TRANSFER, Kind.BARE)
    ]
    p50_ratio = p50s[0] / p50s[1] if p50s[0] and p50s[1] else None
    return {
        "transfer_to_bare_rate": Figure.of(rates, "×", "higher", command, RATE_RATIO_TARGET),
        "transfer_to_bare_p50": Figure.of(p50_ratio, "×", "lower", command, P50_RATIO_TARGET),
    }


def circumstances(found: Findings, command: str) -> str:
    """One line on when, where and how."""
    samples = ", ".join(f"{len(trial.samples)} of {kind}" for kind, trial in found.latencies.items())
    load = max((trial.generator_load for trial in found.latencies.values()), default=0)
    return (
        f"{where_and_when(command, found.load_before)} Everything shares these cores: servers, roles, peers and load "
        f"generator, which took up to {load:.0%} of one. Latencies are of: {samples}."
    )


def where_and_when(command: str, load_before: float) -> str:
    """The beginning of every such line."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    machine = f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.release()}"
    return (
        f"`{command}`: measured on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, at commit "
        f"`{commit.stdout.strip() or 'unknown'}`, on {machine}, Python {platform.python_version()}; the load average "
        f"before was {load_before:.1f}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def write_raw(found: Findings, folder: Path = RESULTS / "raw") -> None:
    """Every trial as a row of trials.csv, and every request of the latency measurements in a file a kind."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in Kind:  # What was measured before, and is not now; other commands have files there, too.
        (folder / f"{kind}.csv").unlink(missing_ok=True)
    write_rows(folder / "trials.csv", _trial_rows(found.trials))
    for kind, trial in found.latencies.items():
        write_rows(folder / f"{kind}.csv", _sample_rows(trial))


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """A file of comma-separated values."""
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _trial_rows(trials: list[Trial]) -> Iterator[list[object]]:
    yield ["kind", "arrivals", "seconds", "asked_per_second", "completed_per_second", "p50_ms", "p99_ms", "succeeded",
           "dropped", "failed", "kept_up", "lateness_p99_ms", "generator_load"]  # fmt: skip
    for trial in trials:
        plan, closed = trial.plan, trial.plan.rate is None
        times = [percentile(trial.completion_ms, percent) for percent in (50, 99)]
        yield [
            plan.kind,
            "closed" if closed else plan.arrivals,
            plan.seconds,
            "" if plan.rate is None else round(plan.rate, 2),
            round(trial.completed_per_second, 2),
            *map(_rounded, times),
            *(trial.count(outcome) for outcome in Outcome),
            "" if closed else trial.kept_up,
            _rounded(percentile(trial.lateness_ms, 99)),
            round(trial.generator_load, 3),
        ]


def _sample_rows(trial: Trial) -> Iterator[list[object]]:
    yield ["due_s", "sent_ms", "accepted_ms", "completed_ms", "outcome"]
    for s in trial.samples:
        since_due = (
            (moment - s.due) * 1000 if moment is not None else None for moment in (s.sent, s.accepted, s.completed)
        )
        yield [round(s.due, 4), *map(_rounded, since_due), s.outcome]


def _rounded(value: float | None) -> object:
    return "" if value is None else round(value, 2)
