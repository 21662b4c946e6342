"""From what was found to figures and raw results."""

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.figures import RESULTS, Figure, Figures
from benchmarks.ledger.postings import Reach
from benchmarks.shards.measure import ACROSS, Found, Round

BYTES: Final = {Reach.SAME_SHARD: "bytes_same_shard", Reach.OTHER_SHARD: "bytes_other_shard"}


def figures_of(found: Found, command: str) -> Figures:
    """All figures of a run, by their stable names. Ratios are medians of ratios within a round."""
    one = found.within[1]
    figures: Figures = {}
    for shards, rounds in found.within.items():
        name = f"shards_{shards}"
        figures[f"{name}_rate"] = Figure.of(median(each.rate for each in rounds), "/s", "higher", command)
        if rounds is not one:
            figures[f"{name}_to_1_rate"] = Figure.of(_rates(rounds, one), "×", "higher", command)
            figures[f"{name}_to_1_cpu"] = Figure.of(_cpus(rounds, one), "×", "lower", command)
    beside = found.within[ACROSS]
    figures["cross_shard_rate"] = Figure.of(median(each.rate for each in found.across), "/s", "higher", command)
    figures["cross_shard_to_same_rate"] = Figure.of(_rates(found.across, beside), "×", "higher", command)
    figures["cross_shard_to_same_cpu"] = Figure.of(_cpus(found.across, beside), "×", "lower", command)
    lost = sum(each.failed for rounds in (*found.within.values(), found.across) for each in rounds)
    figures["shards_failed"] = Figure.of(lost, "transfers", "lower", command, 0)
    for reach, growth in found.growth.items():
        figures[BYTES[reach]] = Figure.of(growth.total, "bytes", "lower", command)
    return figures


def _rates(ones: Sequence[Round], others: Sequence[Round]) -> float:
    return median(one.rate / other.rate for one, other in zip(ones, others, strict=True))


def _cpus(ones: Sequence[Round], others: Sequence[Round]) -> float:
    return median(one.cpu_each / other.cpu_each for one, other in zip(ones, others, strict=True))


def write_raw(found: Found, folder: Path = RESULTS / "raw/shards") -> None:
    """Every round as a row of rounds.csv, and the growth of each table as a row of bytes.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rounds.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["what", "shards", "round", "per_second", "posted", "failed", "caller_cpu_s", "postgres_cpu_s"])
        measured = [("same_shard", shards, rounds) for shards, rounds in found.within.items()]
        for what, shards, rounds in (*measured, ("other_shard", ACROSS, found.across)):
            for number, each in enumerate(rounds):
                cpu = (round(each.caller_cpu, 3), round(each.postgres_cpu, 3))
                rows.writerow([what, shards, number, round(each.rate, 1), each.posted, each.failed, *cpu])
    with (folder / "bytes.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["what", "transfers", "table", "bytes_each"])
        for reach, growth in found.growth.items():
            for table, size in growth.by_table.items():
                rows.writerow([reach, growth.transfers, table, round(size, 1)])
