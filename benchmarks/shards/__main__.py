"""`python -m benchmarks.shards [--quick]`: the ledger alone over one, two and four shards, and across them."""

import argparse
import os
import sys
import time

from rich.console import Console

from benchmarks.__main__ import publish
from benchmarks.ledger.server import running_postgres
from benchmarks.report import where_and_when
from benchmarks.shards.measure import FULL, LAYOUTS, QUICK, Session
from benchmarks.shards.report import figures_of, write_raw


def main() -> int:
    """0 when everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 2 minutes, and noisier")
    quick = parser.parse_args().quick
    console, began, load_before = Console(), time.monotonic(), os.getloadavg()[0]
    effort = QUICK if quick else FULL
    command = "make bench-shards QUICK=1" if quick else "make bench-shards"

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    say(f"starting a PostgreSQL of our own, with {effort.wallets:,} wallets in each layout ...")
    with running_postgres(sum(LAYOUTS)) as server:
        found = Session(server, effort, say).run()
    write_raw(found)
    publish("shards", figures_of(found, command), where_and_when(command, load_before), console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
