"""Two small pictures: how latency is distributed at half load, and what happened at each rate that was tried."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from benchmarks.figures import PAGE
from benchmarks.load import Kind
from benchmarks.measure import Findings
from benchmarks.report import ACCEPTANCE_P99_TARGET_MS
from benchmarks.trial import percentile

COLORS: Final = {
    Kind.TRANSFER: "#1b7f5c",
    Kind.BARE: "#888888",
    Kind.BARE_SAGA: "#bbbbbb",
    Kind.DEPOSIT: "#2f5fb3",
    Kind.WITHDRAWAL: "#b3572f",
}

SHARES: Final = [number / 2 for number in range(1, 201)]
"""Percent; as many points as can be told apart, however many were measured."""


def draw(found: Findings, folder: Path = PAGE.parent) -> None:
    """Write latency.svg and rates.svg."""
    with mpl.rc_context(
        {"svg.hashsalt": "sagapay", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        _save(_latencies(found), folder / "latency.svg")
        _save(_rates(found), folder / "rates.svg")


def _save(picture: Picture, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def _latencies(found: Findings) -> Picture:
    picture = Picture(figsize=(7, 3.6))
    axes = picture.subplots()
    for kind, trial in found.latencies.items():
        values = [percentile(trial.completion_ms, share) for share in SHARES]
        axes.plot(
            [value or 0 for value in values], SHARES, color=COLORS[kind], label=f"{kind} at {trial.plan.rate:.0f}/s"
        )
    axes.axvline(ACCEPTANCE_P99_TARGET_MS, color="#bbbbbb", linestyle=":", linewidth=1)
    axes.set(xscale="log", xlabel="milliseconds from the scheduled moment to completion", ylabel="% of payments")
    axes.legend(frameon=False)
    return picture


def _rates(found: Findings) -> Picture:
    picture = Picture(figsize=(7, 3.6))
    axes = picture.subplots()
    for kind in found.rates:
        trials = [t for t in found.trials if t.plan.kind is kind and t.plan.rate and t.plan.arrivals == "even"]
        for kept_up, marker in ((True, "o"), (False, "x")):
            asked = [t.plan.rate or 0 for t in trials if t.kept_up is kept_up]
            done = [t.completed_per_second for t in trials if t.kept_up is kept_up]
            axes.scatter(asked, done, marker=marker, color=COLORS[kind], s=26, label=f"{kind}" if kept_up else None)
    limit = max((t.plan.rate or 0 for t in found.trials), default=1)
    axes.plot([0, limit], [0, limit], color="#bbbbbb", linewidth=1, zorder=0)
    axes.set(xlabel="asked for, per second", ylabel="completed, per second", xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False, title="● kept up   × did not", alignment="left")
    return picture
