"""From what was found to figures and raw results."""

from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.banks.measure import Found
from benchmarks.banks.worker import CALLS_PER_SECOND
from benchmarks.figures import RESULTS, Figure, Figures
from benchmarks.report import write_rows
from benchmarks.trial import percentile

P99_RATIO_TARGET: Final = 1.2
DRAIN_TARGET: Final = 0.9
_MIDDLE: Final = (10, 90)
"""Percent of those that waited, between whose ends the rate is taken: what comes first and last waits for its turn."""


def figures_of(found: Found, command: str) -> Figures:
    """All figures of a run, by their stable names."""
    alone, beside = ([each for each in part if each is not None] for part in (found.alone, found.beside))
    p99s = percentile(beside, 99), percentile(alone, 99)
    ratio = p99s[0] / p99s[1] if p99s[0] and p99s[1] else None
    lost = found.lost + sum(each is None for each in (*found.alone, *found.beside))
    drained = drain_rate(found)
    return {
        "bank_alone_p50": Figure.of(percentile(alone, 50), "ms", "lower", command),
        "bank_alone_p99": Figure.of(p99s[1], "ms", "lower", command),
        "bank_beside_dead_p50": Figure.of(percentile(beside, 50), "ms", "lower", command),
        "bank_beside_dead_p99": Figure.of(p99s[0], "ms", "lower", command),
        "bank_beside_dead_to_alone_p99": Figure.of(ratio, "×", "lower", command, P99_RATIO_TARGET),
        "bank_limit": Figure.of(CALLS_PER_SECOND, "/s", "higher", command),
        "bank_drain_rate": Figure.of(drained, "/s", "higher", command),
        "bank_drain_to_limit": Figure.of(
            drained / CALLS_PER_SECOND if drained else None, "×", "higher", command, DRAIN_TARGET
        ),
        "bank_drain_seconds": Figure.of(max(map(max, found.ended_at), default=None), "s", "lower", command),
        "bank_payments_failed": Figure.of(lost, "payments", "lower", command, 0),
    }


def drain_rate(found: Found) -> float | None:
    """Payments a second in the middle of the drain, the median of the rounds; None of too few."""
    rates = []
    for ended in found.ended_at:
        first, last = (percentile(ended, percent) for percent in _MIDDLE)
        if first is not None and last is not None and last > first:
            rates.append(len(ended) * (_MIDDLE[1] - _MIDDLE[0]) / 100 / (last - first))
    return median(rates) if rates else None


def write_raw(found: Found, folder: Path = RESULTS / "raw/banks") -> None:
    """Every payment as a row: those of the open loop with their latency, those that waited with their end."""
    folder.mkdir(parents=True, exist_ok=True)
    phases = (("alone", found.alone), ("beside", found.beside))
    rows = [[phase, "" if each is None else round(each, 1)] for phase, part in phases for each in part]
    write_rows(folder / "open_loop.csv", [["phase", "completed_ms"], *rows])
    drained = [[number, round(each, 2)] for number, ended in enumerate(found.ended_at, 1) for each in sorted(ended)]
    write_rows(folder / "drain.csv", [["round", "ended_s"], *drained])
