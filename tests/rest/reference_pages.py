"""The tables of docs/reference/errors.md and docs/reference/api.md, made from the code.

`python -m tests.rest.reference_pages` writes them anew; a test says when they differ.
"""

from collections.abc import Callable
from pathlib import Path

from api.app import create_app
from api.catalogue import CATALOGUE
from infra.settings import Settings

REFERENCE = Path(__file__).parents[2] / "docs/reference"


def errors_table() -> str:
    """Every code that is answered with a status of its own."""
    rows = ["| code | status | retry | meaning |", "|---|---|---|---|"]
    found = sorted((item for item in CATALOGUE.values() if item.status), key=lambda item: (item.status, item.code))
    rows += [
        f"| `{item.code}` | {item.status} | {'yes' if item.retryable else 'no'} | {item.meaning} |" for item in found
    ]
    return "\n".join(rows)


def decisions_table() -> str:
    """Every code that is recorded with a payment."""
    rows = ["| `failure.code` | meaning |", "|---|---|"]
    rows += [f"| `{item.code}` | {item.meaning} |" for item in CATALOGUE.values() if item.status is None]
    return "\n".join(rows)


def routes_table() -> str:
    """Every call of the API."""
    document = create_app(Settings()).openapi()
    rows = ["| call | does | answers |", "|---|---|---|"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answers = ", ".join(operation["responses"])
            rows.append(f"| `{method.upper()} {path}` | {operation['summary']} | {answers} |")
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "errors": errors_table,
    "decisions": decisions_table,
    "routes": routes_table,
}
PAGES = (REFERENCE / "errors.md", REFERENCE / "api.md")


def with_tables(page: str) -> str:
    """The page with every table between its markers made anew."""
    for name, table in TABLES.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        if begin in page:
            before, _, rest = page.partition(begin)
            page = before + f"{begin}\n{table()}\n{end}" + rest.partition(end)[2]
    return page


if __name__ == "__main__":
    for reference in PAGES:
        reference.write_text(with_tables(reference.read_text()))
