"""From what was found to figures, raw results and a picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from benchmarks.capacity import LANES, LOG, PROCESSES
from benchmarks.figures import PAGE, RESULTS, Figure, Figures
from benchmarks.lanes.measure import Cost, Found
from benchmarks.load import Kind, Outcome
from benchmarks.report import (
    ACCEPTANCE_P99_TARGET_MS,
    LATENESS_TARGET_MS,
    kind_figures,
    median_ratio,
    write_rows,
)
from benchmarks.report import write_raw as write_trials
from benchmarks.trial import percentile

ENDPOINT_TARGET: Final = 0.5
BULK_TARGET: Final = 0.6

COSTS: Final = ("cores_", "bytes_express_", "bytes_bulk_")
"""What the names of the costs of a run begin with; there is one for each table."""

_ALIASES: Final = {"api": ("api", "express"), "others": ("valkey", "kafka")}
"""Processes that a figure counts together."""


def figures_of(found: Found, command: str) -> Figures:
    """All figures of a run, by their stable names. Ratios are medians of ratios within a round."""
    figures: Figures = {}
    for kind in (Kind.EXPRESS, Kind.ENDPOINT):
        figures |= kind_figures(found.http, kind, command)
    share = median_ratio(found.http.rates[Kind.EXPRESS], found.http.rates[Kind.ENDPOINT])
    figures["express_to_endpoint_rate"] = Figure.of(share, "×", "higher", command, ENDPOINT_TARGET)
    figures |= _bulk(found, command) | _beside(found, command)
    verified = all(found.http.verified.values())
    figures["lanes_verified"] = Figure.of(int(verified), "of 1", "higher", command, 1)
    timed = found.http.latencies.get(Kind.EXPRESS)
    lateness = percentile(timed.lateness_ms, 99) if timed else None
    figures["express_generator_lateness_p99"] = Figure.of(lateness, "ms", "lower", command, LATENESS_TARGET_MS)
    return figures | _costs(found, command)


def _bulk(found: Found, command: str) -> Figures:
    rates = [paid.rate for paid in found.bulk]
    accepted = median(paid.accepted_seconds for paid in found.bulk) * 1000
    failed = sum(paid.failed for paid in (*found.bulk, *found.beside_bulk))
    ratio = median_ratio(rates, found.posting)
    return {
        "bulk_rate": Figure.of(median(rates), "/s", "higher", command),
        "posting_beside_bulk_rate": Figure.of(median(found.posting), "/s", "higher", command),
        "bulk_to_posting_rate": Figure.of(ratio, "×", "higher", command, BULK_TARGET),
        "bulk_acceptance_p50": Figure.of(accepted, "ms", "lower", command),
        "bulk_failed": Figure.of(failed, "transfers", "lower", command, 0),
    }


def _beside(found: Found, command: str) -> Figures:
    trial = found.beside
    p99 = percentile(trial.acceptance_ms, 99) if trial else None
    lost = len(trial.samples) - trial.count(Outcome.SUCCEEDED) if trial else None
    return {
        "beside_bulk_acceptance_p99": Figure.of(p99, "ms", "lower", command, ACCEPTANCE_P99_TARGET_MS),
        "beside_bulk_lost": Figure.of(lost, "requests", "lower", command, 0),
    }


def _costs(found: Found, command: str) -> Figures:
    figures: Figures = {"cores_idle": Figure.of(sum(found.idle.values()), "cores", "lower", command)}
    for lane, cost in found.costs.items():
        for name in PROCESSES:
            figures[f"cores_{lane}_{name}"] = Figure.of(_cores(cost, name), "cores", "lower", command)
    for lane, growth in found.growth.items():
        for table, size in growth.by_table.items():
            figures[f"bytes_{lane}_{table.partition('.')[2]}"] = Figure.of(size, "bytes", "lower", command)
        figures[f"bytes_{lane}_{LOG}"] = Figure.of(growth.log, "bytes", "lower", command)
    return figures


def _cores(cost: Cost, name: str) -> float:
    return cost.cores(*_ALIASES.get(name, (name,)))


def write_raw(found: Found, folder: Path = RESULTS / "raw/lanes") -> None:
    """Trials and requests as `make bench` writes them; batches, CPU by process, and bytes by table, a row each."""
    write_trials(found.http, folder)
    write_rows(folder / "batches.csv", _batch_rows(found))
    write_rows(folder / "cpu.csv", _cpu_rows(found))
    write_rows(folder / "bytes.csv", _byte_rows(found))


def _batch_rows(found: Found) -> Iterator[Sequence[object]]:
    yield ["what", "round", "succeeded", "failed", "accepted_s", "seconds", "ledger_alone_per_second"]
    alone = [*(round(rate, 1) for rate in found.posting), *[""] * len(found.beside_bulk)]
    paid = [*(("alone", each) for each in found.bulk), *(("with transfers beside", each) for each in found.beside_bulk)]
    for number, ((what, each), rate) in enumerate(zip(paid, alone, strict=True)):
        times = (round(each.accepted_seconds, 3), round(each.seconds, 3))
        yield [what, number, each.succeeded, each.failed, *times, rate]


def _cpu_rows(found: Found) -> Iterator[Sequence[object]]:
    yield ["lane", "process", "transfers", "cpu_s_beyond_idle"]
    for lane, cost in found.costs.items():
        for name, seconds in sorted(cost.by_process.items()):
            yield [lane, name, cost.transfers, round(seconds, 3)]
    for name, share in sorted(found.idle.items()):
        yield ["idle, a second", name, 0, round(share, 4)]


def _byte_rows(found: Found) -> Iterator[Sequence[object]]:
    yield ["lane", "transfers", "table", "bytes_each"]
    for lane, growth in found.growth.items():
        for table, size in {**growth.by_table, "write-ahead log": growth.log}.items():
            yield [lane, growth.transfers, table, round(size, 1)]


def draw(found: Found, folder: Path = PAGE.parent) -> None:
    """Write lanes.svg: what each lane sustains beside its peer, and which processes its transfers keep busy."""
    with mpl.rc_context(
        {"svg.hashsalt": "sagapay", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        picture = Picture(figsize=(9, 3.2))
        rates, cores = picture.subplots(1, 2)
        shown = {
            "endpoint": found.http.rate(Kind.ENDPOINT),
            "express": found.http.rate(Kind.EXPRESS),
            "ledger alone": median(found.posting),
            "bulk": median(paid.rate for paid in found.bulk),
        }
        rates.barh(list(shown), list(shown.values()), color=["#888888", "#1b7f5c"] * 2)
        rates.invert_yaxis()
        rates.set(xlabel="transfers a second")
        left = [0.0] * len(LANES)
        for name in PROCESSES:
            widths = [_cores(found.costs[lane], name) if lane in found.costs else 0.0 for lane in LANES]
            cores.barh(LANES, widths, left=left, label=PROCESSES[name].strip("`"))
            left = [start + width for start, width in zip(left, widths, strict=True)]
        cores.invert_yaxis()
        cores.set(xlabel="cores for 1,000 transfers a second")
        cores.legend(frameon=False, fontsize=7)
        picture.tight_layout()
        picture.savefig(folder / "lanes.svg", metadata={"Date": None}, bbox_inches="tight")
