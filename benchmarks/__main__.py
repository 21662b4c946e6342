"""`python -m benchmarks [--quick]`: measure everything, write results, plots and the page."""

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from benchmarks.capacity import CAPACITY_PAGE, capacity_text, is_cost
from benchmarks.figures import PAGE, RESULTS, Figures, read, record, table, write_page
from benchmarks.load import Kind
from benchmarks.measure import FULL, QUICK, Effort, Findings, Session
from benchmarks.plots import draw
from benchmarks.report import circumstances, figures_of, write_raw
from benchmarks.site import running_site

CIRCUMSTANCES = "circumstances"
"""Below the results, a file for each command."""


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
        session.compare([Kind.DEPOSIT, Kind.WITHDRAWAL, Kind.BARE_SAGA])
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
        command = "make bench QUICK=1" if options.quick else "make bench"
        write_raw(found)
        draw(found)
        publish("bench", figures_of(found, command), circumstances(found, command), console)
    else:
        write_pages()
        show(console)
    return 0


def publish(
    name: str, figures: Figures, circumstances: str, console: Console, *, instead_of: tuple[str, ...] = ()
) -> None:
    """Record what a command has measured, when and where, and show it; `instead_of` as in `figures.record`."""
    record(figures, instead_of=instead_of)
    write_circumstances(name, circumstances)
    write_pages()
    show(console)


def show(console: Console) -> None:
    """The targets and what came of them; the page has all figures."""
    judged = Table("figure", "value", "target", "", title="Targets", title_justify="left")
    for name, figure in read().items():
        if figure.met is not None:
            judged.add_row(name, figure.shown, figure.aim, "[green]met[/]" if figure.met else "[red]missed[/]")
    console.print(judged)
    console.print(f"All figures: {PAGE.relative_to(PAGE.parents[2])}")


def write_circumstances(name: str, text: str) -> None:
    """When and where a command has measured, for the page."""
    (RESULTS / CIRCUMSTANCES / f"{name}.md").write_text(f"{text}\n")


def write_pages() -> None:
    """Both pages, from the results alone."""
    write_page(page_text())
    write_page(capacity_text(read()), CAPACITY_PAGE)


def page_text() -> str:
    """What stands between the page's markers. What the page on capacity shows is not here, too."""
    measured = "\n".join(path.read_text() for path in sorted((RESULTS / CIRCUMSTANCES).glob("*.md")))
    return f"{measured}\n{table({name: figure for name, figure in read().items() if not is_cost(name)})}"


if __name__ == "__main__":
    sys.exit(main())
