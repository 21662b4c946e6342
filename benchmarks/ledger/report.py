"""From what was found to figures, raw results and pictures."""

import csv
import re
from pathlib import Path
from statistics import median
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from benchmarks.figures import PAGE, RESULTS, Figure, Figures
from benchmarks.ledger.measure import Found
from benchmarks.ledger.postings import Skew
from benchmarks.trial import percentile

TPCB_TARGET: Final = 2.5
TEXTBOOK_TARGET: Final = 6.0
SKEW_TARGET: Final = 0.8
LONE_TARGET: Final = 1.2
GROWTH_TARGET: Final = 0.75


def figures_of(found: Found, command: str) -> Figures:
    """All figures of a run, by their stable names. Ratios are medians of ratios within a round."""
    figures: Figures = {
        f"{name}_rate": Figure.of(median(rates), "/s", "higher", command)
        for name, rates in (("posting", found.rates["ledger"]), *((n, found.rates[n]) for n in ("tpcb", "textbook")))
    }
    figures["posting_to_tpcb"] = _ratio(median(found.ratios("ledger", "tpcb")), command, TPCB_TARGET)
    figures["posting_to_textbook"] = _ratio(median(found.ratios("ledger", "textbook")), command, TEXTBOOK_TARGET)
    uniform = found.skews[Skew.UNIFORM]
    for skew, rates in found.skews.items():
        if skew is not Skew.UNIFORM:
            share = median(rate / beside for rate, beside in zip(rates, uniform, strict=True))
            figures[f"posting_{skew}_to_uniform"] = _ratio(share, command, SKEW_TARGET)
    ours, textbook = found.lone["ledger"], found.lone["textbook"]
    figures["posting_lone_p50"] = Figure.of(median(ours) * 1000, "ms", "lower", command)
    slower = median(mine / its for mine, its in zip(ours, textbook, strict=True))
    figures["posting_lone_to_textbook"] = Figure.of(slower, "×", "lower", command, LONE_TARGET)
    (_, (first, beside)), *grown = sorted(found.by_entries.items())
    for size, (rate, beside_then) in grown:
        # By what TPC-B did beside it: the machine's moods are not the ledger's growth.
        kept = (rate / beside_then) / (first / beside)
        figures[f"posting_at_{size // 1_000_000}m_entries"] = _ratio(kept, command, GROWTH_TARGET)
    for part, microseconds in found.parts.items():
        name = re.sub(r"\W+", "_", part.lower())
        figures[f"posting_cpu_{name}"] = Figure.of(microseconds, "µs a transfer", "lower", command)
    figures["posting_failed"] = Figure.of(found.failed, "transfers", "lower", command, 0)
    figures["posting_deadlocks"] = Figure.of(found.deadlocks, "deadlocks", "lower", command, 0)
    return figures


def _ratio(value: float, command: str, target: float) -> Figure:
    return Figure.of(value, "×", "higher", command, target)


def write_raw(found: Found, folder: Path = RESULTS / "raw") -> None:
    """Every measured rate as a row of postings.csv, and latency by callers in postings_by_callers.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "postings.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["what", "round", "value"])
        for name, values in (*found.rates.items(), *found.skews.items()):
            writer.writerows([f"{name}_per_second", number, round(value, 1)] for number, value in enumerate(values))
        for name, values in found.lone.items():
            writer.writerows([f"{name}_lone_ms", n, round(value * 1000, 3)] for n, value in enumerate(values))
        for size, (rate, beside) in found.by_entries.items():
            writer.writerow([f"at_{size}_entries_per_second", 0, round(rate, 1)])
            writer.writerow([f"tpcb_beside_{size}_entries_per_second", 0, round(beside, 1)])
    with (folder / "postings_by_callers.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["callers", "per_second", "p50_ms", "p99_ms"])
        for callers, done in found.by_callers.items():
            p50, p99 = (percentile(done.latencies, percent) or 0.0 for percent in (50, 99))
            writer.writerow([callers, round(done.rate, 1), round(p50 * 1000, 2), round(p99 * 1000, 2)])


def draw(found: Found, folder: Path = PAGE.parent) -> None:
    """Write postings.svg: rates beside the peers', by skew, and latency as groups grow."""
    with mpl.rc_context(
        {"svg.hashsalt": "sagapay", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        picture = Picture(figsize=(9, 3.4))
        bars, curve = picture.subplots(1, 2)
        names = {"textbook": "textbook", "tpcb": "TPC-B", "ledger": "ledger"}
        shown = {label: median(found.rates[name]) for name, label in names.items()}
        shown |= {skew.replace("_", " "): median(rates) for skew, rates in found.skews.items()}
        colors = ["#888888", "#888888", *["#1b7f5c"] * (len(shown) - 2)]
        bars.barh(list(shown), list(shown.values()), color=colors)
        bars.invert_yaxis()
        bars.set(xlabel="transfers a second")
        rates = [done.rate for done in found.by_callers.values()]
        for percent, style in ((50, "-"), (99, ":")):
            times = [(percentile(done.latencies, percent) or 0) * 1000 for done in found.by_callers.values()]
            curve.plot(rates, times, style, color="#1b7f5c", marker="o", markersize=3, label=f"p{percent}")
        for callers, rate, done in zip(found.by_callers, rates, found.by_callers.values(), strict=True):
            height = (percentile(done.latencies, 50) or 0) * 1000
            curve.annotate(str(callers), (rate, height), textcoords="offset points", xytext=(4, -9), fontsize=7)
        curve.set(
            xlabel="transfers a second (number of callers beside each point)", ylabel="milliseconds", yscale="log"
        )
        curve.legend(frameon=False)
        picture.tight_layout()
        picture.savefig(folder / "postings.svg", metadata={"Date": None}, bbox_inches="tight")
