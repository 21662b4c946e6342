"""From what was found to figures and raw results."""

from collections import Counter
from pathlib import Path
from typing import Final

from benchmarks.events.measure import Found
from benchmarks.figures import RESULTS, Figure, Figures
from benchmarks.report import write_rows
from benchmarks.trial import percentile

DRAIN_TARGET: Final = 5.0
RELAY_TARGET: Final = 0.05
STEP_MS: Final = 10


def figures_of(found: Found, express_rate: float | None, command: str) -> Figures:
    """All figures of a run, by their stable names."""
    events_each = len(found.ages) / found.transfers if found.transfers else None
    drain = found.drained / found.drain_seconds if found.drain_seconds else None
    in_transfers = drain / events_each if drain and events_each else None
    return {
        "events_half_load": Figure.of(found.rate * events_each if events_each else None, "/s", "higher", command),
        "events_to_consumer_p50": Figure.of(percentile(found.ages, 50), "ms", "lower", command),
        "events_to_consumer_p99": Figure.of(percentile(found.ages, 99), "ms", "lower", command),
        "events_failed": Figure.of(found.failed, "transfers", "lower", command, 0),
        "events_relay_cpu": Figure.of(found.relay_us, "µs an event", "lower", command),
        "events_posting_cpu": Figure.of(found.posting_us, "µs a transfer", "lower", command),
        "events_relay_to_posting_cpu": Figure.of(
            found.relay_us / found.posting_us if found.posting_us else None, "×", "lower", command, RELAY_TARGET
        ),
        "events_drained": Figure.of(found.drained or None, "events", "higher", command),
        "events_drain_rate": Figure.of(drain, "/s", "higher", command),
        "events_drain_to_express": Figure.of(
            in_transfers / express_rate if in_transfers and express_rate else None, "×", "higher", command, DRAIN_TARGET
        ),
        "events_drain_to_posting": Figure.of(
            in_transfers / found.posting_rate if in_transfers and found.posting_rate else None, "×", "higher", command
        ),
        **{
            f"events_drain_cores_{name}": Figure.of(cores, "cores", "lower", command)
            for name, cores in found.drain_cores.items()
        },
    }


def write_raw(found: Found, folder: Path = RESULTS / "raw/events") -> None:
    """How many events were how old, in steps of STEP_MS."""
    folder.mkdir(parents=True, exist_ok=True)
    ages = Counter(int(age // STEP_MS) * STEP_MS for age in found.ages)
    write_rows(folder / "ages.csv", [["from_ms", "events"], *([age, ages[age]] for age in sorted(ages))])
