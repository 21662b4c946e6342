"""Every decision record is numbered without a gap, has the usual parts, and is listed in docs/adr/README.md."""

import re

from tests.house.tree import ROOT

FOLDER = ROOT / "docs/adr"
RECORDS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


def test_numbers_have_no_gap() -> None:
    assert RECORDS
    numbers = [path.name[:4] for path in RECORDS]
    assert numbers == [f"{number:04d}" for number in range(1, len(RECORDS) + 1)]


def test_every_record_says_its_number_and_status() -> None:
    for path in RECORDS:
        text = path.read_text()
        assert re.match(rf"# (ADR )?{path.name[:4]}\b", text), f"{path.name} does not begin with its number"
        assert re.search(r"(?i)\bstatus\b", text), f"{path.name} has no status"


def test_the_index_lists_exactly_the_records() -> None:
    listed = re.findall(r"\]\((\d{4}-[^)#]+\.md)\)", (FOLDER / "README.md").read_text())
    assert listed == [path.name for path in RECORDS]
