"""`python -m benchmarks.ledger [--quick]`: the ledger against TPC-B and the textbook, as figures and a picture."""

import argparse
import os
import sys
import time

from rich.console import Console

from benchmarks.__main__ import publish
from benchmarks.ledger.measure import FULL, QUICK, Session
from benchmarks.ledger.report import draw, figures_of, write_raw
from benchmarks.ledger.server import running_server
from benchmarks.report import where_and_when


def main() -> int:
    """0 when everything was measured, whether targets were met or not: the table says that."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 5 minutes, and noisier")
    options = parser.parse_args()
    console, began, load_before = Console(), time.monotonic(), os.getloadavg()[0]

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    effort = QUICK if options.quick else FULL
    say(f"starting a PostgreSQL of our own, with {effort.wallets:,} wallets ...")
    with running_server(effort.wallets) as server:
        found = Session(server, effort, say).run()
    command = "make bench-ledger QUICK=1" if options.quick else "make bench-ledger"
    write_raw(found)
    draw(found)
    publish("ledger", figures_of(found, command), where_and_when(command, load_before), console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
