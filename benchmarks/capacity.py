"""The tables of docs/capacity.md: what a transfer costs, and what so many of them would take. All from the figures."""

from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.figures import PAGE, Figures

CAPACITY_PAGE: Final = PAGE.parents[1] / "capacity.md"

LANES: Final = ("workflow", "express", "bulk")
AT_FULL_LOAD: Final = "express_full"
"""The express lane where it is asked for more than it sustains."""
PROCESSES: Final = {
    "api": "`api`",
    "worker": "`worker`",
    "postgres": "PostgreSQL",
    "temporal": "Temporal",
    "relay": "`relay`",
    "consumers": "`consumers`",
    "others": "Redis, Kafka",
}
"""As figures name them and as the page does."""
LOG: Final = "wal"
PEAK_PER_SECOND: Final = 10_000
USUAL_PEAK_PER_SECOND: Final = 2_300
A_YEAR: Final = 7_300_000_000
USED: Final = 0.5
"""How busy a core is to be at the peak: the latencies are measured at half load."""
SHARDS: Final = (1, 2, 4, 8, 16)
_TERABYTE: Final = 1e12
_GIGABYTE: Final = 1e9

_COST: Final = ("cores_", "bytes_")


def is_cost(name: str) -> bool:
    """Whether a figure is shown on the page on capacity."""
    return name.startswith(_COST)


def capacity_text(figures: Figures) -> str:
    """What stands between the page's markers."""
    parts = (_cores(figures), _bytes(figures), _rates(figures), _years(figures), _shards(figures))
    return "\n\n".join(parts)


def _cores(figures: Figures) -> str:
    rows = [
        [shown, *(_number(_value(figures, f"cores_{lane}_{name}"), "{:.2f}") for lane in LANES)]
        for name, shown in PROCESSES.items()
    ]
    rows.append(["**together**", *(_number(_cores_of(figures, lane), "**{:.2f}**") for lane in LANES)])
    idle = _number(_value(figures, "cores_idle"), "{:.2f}")
    full = _number(_cores_of(figures, AT_FULL_LOAD), "{:.2f}")
    return (
        f"### Cores for 1,000 transfers a second\n\n{_table(['process', *LANES], rows)}\n\n"
        "Workflow and express at half of what they sustain, bulk one batch after the other. At full load, where groups "
        f"are larger, express takes {full}. "
        f"When nothing happens, all of them together take {idle} of a core; that is not in the table. "
        f"Measured by {_commands(figures, 'cores_')}."
    )


def _bytes(figures: Figures) -> str:
    lanes = ("express", "bulk")
    tables = {name.split("_", 2)[2] for name in figures if name.startswith(tuple(f"bytes_{lane}_" for lane in lanes))}
    ordered = sorted(tables - {LOG}, key=lambda table: -max(_value(figures, f"bytes_{x}_{table}") or 0 for x in lanes))
    rows = [
        [f"`{table}`", *(_number(_value(figures, f"bytes_{lane}_{table}"), "{:,.0f}") for lane in lanes)]
        for table in ordered
    ]
    rows.append(["**together**", *(_number(_bytes_of(figures, lane), "**{:,.0f}**") for lane in lanes)])
    rows.append(["write-ahead log", *(_number(_value(figures, f"bytes_{lane}_{LOG}"), "{:,.0f}") for lane in lanes)])
    same, other = (_number(_value(figures, f"bytes_{reach}_shard"), "{:,.0f}") for reach in ("same", "other"))
    return (
        f"### Bytes for each transaction\n\n{_table(['table', 'workflow and express', 'bulk'], rows)}\n\n"
        f"In the ledger alone, without history, a transfer within a shard takes {same} and one across two shards "
        f"{other}. Measured by {_commands(figures, 'bytes_')}."
    )


def _rates(figures: Figures) -> str:
    def row(shown: str, of: Callable[[str], float | None], times: float) -> list[str]:
        return [shown, *(_number(_times(of(lane), times), "{:,.0f}") for lane in LANES)]

    def process(name: str) -> Callable[[str], float | None]:
        return lambda lane: _value(figures, f"cores_{lane}_{name}")

    peak, usual = PEAK_PER_SECOND / 1000 / USED, USUAL_PEAK_PER_SECOND / 1000 / USED
    rows = [row(f"{shown} at {PEAK_PER_SECOND:,}/s", process(name), peak) for name, shown in PROCESSES.items()]
    rows.append(row(f"**all at {PEAK_PER_SECOND:,}/s**", lambda lane: _cores_of(figures, lane), peak))
    rows.append(row(f"all at {USUAL_PEAK_PER_SECOND:,}/s", lambda lane: _cores_of(figures, lane), usual))
    return (
        f"### Cores at the peak, each {USED:.0%} busy\n\n`cores = cores for 1,000/s × rate / 1,000 / {USED:g}`\n\n"
        f"{_table(['', *LANES], rows)}"
    )


def _years(figures: Figures) -> str:
    tables, log = _bytes_of(figures, "express"), _value(figures, f"bytes_express_{LOG}")
    rows = [
        [
            f"{A_YEAR / 1e9:.1f} billion transactions, a year",
            _number(_times(tables, A_YEAR / _TERABYTE), "{:.1f} TB"),
            _number(_times(log, A_YEAR / _TERABYTE), "{:.1f} TB"),
        ],
        [
            "the same, a day",
            _number(_times(tables, A_YEAR / 365 / _GIGABYTE), "{:.0f} GB"),
            _number(_times(log, A_YEAR / 365 / _GIGABYTE), "{:.0f} GB"),
        ],
        [
            f"{PEAK_PER_SECOND:,}/s, a second",
            _number(_times(tables, PEAK_PER_SECOND / 1e6), "{:.0f} MB"),
            _number(_times(log, PEAK_PER_SECOND / 1e6), "{:.0f} MB"),
        ],
    ]
    return (
        "### Storage\n\n`storage = bytes for each transaction × transactions`, of one copy. "
        f"The log is also what is sent to each replica and to the archive.\n\n{_table(['', 'tables', 'log'], rows)}"
    )


def _shards(figures: Figures) -> str:
    alone, dearer = _value(figures, "posting_rate"), _value(figures, "cross_shard_to_same_cpu")
    rows = []
    for shards in SHARDS:
        across = 1 - 1 / shards
        load = None if dearer is None else 1 - across + across * dearer
        servers = None if alone is None or load is None else PEAK_PER_SECOND * load / alone / USED
        rows.append([str(shards), f"{across:.0%}", _number(load, "{:.2f}"), _number(servers, "{:.1f}")])
    head = ["shards", "transfers across", "the ledger's work", f"servers for {PEAK_PER_SECOND:,}/s"]
    work = f"`work = (1 − across) + across × {_number(dearer, '{:.2f}')}`"
    needed = f"`servers = rate × work / {_number(alone, '{:,.0f}')} / {USED:g}`"
    return (
        "### Shards\n\n`across = 1 − 1 / shards`, where who pays whom has nothing to do with where they are;\n"
        f"{work};\n{needed}, each like the one that was measured, with the ledger's callers on it.\n\n"
        f"{_table(head, rows)}"
    )


def _cores_of(figures: Figures, lane: str) -> float | None:
    return _sum([_value(figures, f"cores_{lane}_{name}") for name in PROCESSES])


def _bytes_of(figures: Figures, lane: str) -> float | None:
    start = f"bytes_{lane}_"
    return _sum([each.value for name, each in figures.items() if name.startswith(start) and name != start + LOG])


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _value(figures: Figures, name: str) -> float | None:
    return figures[name].value if name in figures else None


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _commands(figures: Figures, start: str) -> str:
    found = dict.fromkeys(figure.command for name, figure in figures.items() if name.startswith(start))
    return " and ".join(f"`{command}`" for command in found) or "nothing yet"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
