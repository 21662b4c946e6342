"""`python -m benchmarks [--quick]`: measure everything, write results, plots and the page."""

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from benchmarks.figures import PAGE, RESULTS, read, record, table, write_page
from benchmarks.load import Kind
from benchmarks.measure import FULL, QUICK, Effort, Findings, Session
from benchmarks.plots import draw
from benchmarks.report import circumstances, figures_of, write_raw
from benchmarks.site import running_site

CIRCUMSTANCES = RESULTS / "circumstances.md"


def measure(effort: Effort, console: Console) -> Findings:
    """Bring everything up, measure, take everything down. Raises what stops it."""
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    say("starting a platform of our own, the bare peer, and people with money ...")
    with running_site(effort.people) as site:
        say(f"the platform was ready after {site.up_seconds:.1f} s; {len(site.accounts)} wallets have money")
        session = Session(site, effort, say)
        session.compare([Kind.TRANSFER, Kind.BARE])
        session.compare([Kind.DEPOSIT])
        session.compare([Kind.WITHDRAWAL])
    say("done")
    return session.findings


def main() -> int:
    """0 when everything was measured, whether targets were met or not: the table says that."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 3 minutes, and noisier")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the page from the last results")
    options = parser.parse_args()
    console = Console()
    if not options.page:
        found = measure(QUICK if options.quick else FULL, console)
        write_raw(found)
        draw(found)
        record(figures_of(found, "make bench QUICK=1" if options.quick else "make bench"))
        CIRCUMSTANCES.write_text(circumstances(found, options.quick) + "\n")
    write_page(page_text())
    show(console)
    return 0


def show(console: Console) -> None:
    """The targets and what came of them; the page has all figures."""
    judged = Table("figure", "value", "target", "", title="Targets", title_justify="left")
    for name, figure in read().items():
        if figure.met is not None:
            judged.add_row(name, figure.shown, figure.aim, "[green]met[/]" if figure.met else "[red]missed[/]")
    console.print(judged)
    console.print(f"All figures: {PAGE.relative_to(PAGE.parents[2])}")


def page_text() -> str:
    """What stands between the page's markers: made from the results alone."""
    return f"{CIRCUMSTANCES.read_text()}\n{table(read())}"


if __name__ == "__main__":
    sys.exit(main())
