"""`python -m benchmarks.events [--quick]`: events on their way at half load, and 100,000 of them after an outage.

A real Kafka is used where SAGAPAY_TEST_KAFKA_LIBS names a folder of its jars; else the embedded broker, without an
outage: it forgets what it had.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks.__main__ import publish
from benchmarks.events.measure import FULL, QUICK, measure
from benchmarks.events.report import figures_of, write_raw
from benchmarks.figures import read
from benchmarks.report import where_and_when
from tests.stack.platform import REPOSITORY

USUAL_RATE = 400.0
"""Transfers a second, where nobody has measured the express lane here."""


def main() -> int:
    """0 when everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute and a half, and noisier")
    quick = parser.parse_args().quick
    console, began, load_before = Console(), time.monotonic(), os.getloadavg()[0]
    command = "make bench-events QUICK=1" if quick else "make bench-events"
    libs = os.environ.get("SAGAPAY_TEST_KAFKA_LIBS")
    jars = Path(libs) if libs and Path(libs).is_dir() and shutil.which("java") else None
    express = read().get("express_rate")
    express_rate = express.value if express else None

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    broker = "Apache Kafka" if jars else "the embedded broker, without a drain (make test-kafka gets a real one)"
    say(f"starting PostgreSQL and {broker} ...")
    with tempfile.TemporaryDirectory(prefix=".sagapay-bench-", dir=REPOSITORY) as home:
        found = measure((express_rate or USUAL_RATE) / 2, QUICK if quick else FULL, Path(home), jars, say)
    write_raw(found)
    publish("events", figures_of(found, express_rate, command), where_and_when(command, load_before), console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
