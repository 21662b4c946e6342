"""`python -m benchmarks.banks [--quick]`: a dead bank with a thousand payments that wait, and another beside it."""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks.__main__ import publish
from benchmarks.banks.measure import FULL, QUICK, Effort, Found, Say, measure, two_banks
from benchmarks.banks.report import figures_of, write_raw
from benchmarks.report import where_and_when
from tests.stack.platform import REPOSITORY


async def _measured(effort: Effort, home: Path, say: Say) -> Found:
    async with two_banks(home) as (here, there):
        found = await measure(here, there, effort, say)
        assert not [finding for finding in await here.verify() if not finding.ok and finding.name != "bank statements"]
        return found


def main() -> int:
    """0 when everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.banks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about 4 minutes, and noisier")
    quick = parser.parse_args().quick
    console, began, load_before = Console(), time.monotonic(), os.getloadavg()[0]
    command = "make bench-banks QUICK=1" if quick else "make bench-banks"

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    say("starting servers, two banks and a worker of our own ...")
    with tempfile.TemporaryDirectory(prefix=".sagapay-bench-", dir=REPOSITORY) as home:
        found = asyncio.run(_measured(QUICK if quick else FULL, Path(home), say))
    write_raw(found)
    publish("banks", figures_of(found, command), where_and_when(command, load_before), console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
