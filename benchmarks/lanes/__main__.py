"""`python -m benchmarks.lanes [--quick]`: the express lane and batches beside what bounds them, and their costs."""

import argparse
import sys
import time

from rich.console import Console

from benchmarks.__main__ import publish
from benchmarks.lanes.measure import ENDPOINT, EXPRESS, FULL, QUICK, Lanes
from benchmarks.lanes.report import COSTS, draw, figures_of, write_raw
from benchmarks.report import circumstances
from benchmarks.site import running_site


def main() -> int:
    """0 when everything was measured, whether targets were met or not: the table says that."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lanes", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about 4 minutes, and noisier")
    quick = parser.parse_args().quick
    console, began, effort = Console(), time.monotonic(), QUICK if quick else FULL
    command = "make bench-lanes QUICK=1" if quick else "make bench-lanes"

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    say("starting a platform of our own, an API process in the express lane, and a bare endpoint ...")
    with running_site(effort.http.people, [EXPRESS, ENDPOINT]) as site:
        say(f"the platform was ready after {site.up_seconds:.1f} s; {len(site.accounts)} wallets have money")
        found = Lanes(site, effort, say).run()
    write_raw(found)
    draw(found)
    publish("lanes", figures_of(found, command), circumstances(found.http, command), console, instead_of=COSTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
