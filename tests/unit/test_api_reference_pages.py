"""docs/reference/errors.md and api.md say what the code says."""

import re
from pathlib import Path

import pytest

from api.catalogue import CATALOGUE, error_classes
from domain.errors import DecisionCode
from tests.rest.reference_pages import PAGES, with_tables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_are_what_the_code_says(page: Path) -> None:
    assert page.read_text() == with_tables(page.read_text()), "run `python -m tests.rest.reference_pages`"


def test_every_code_has_one_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGES[0].read_text(), flags=re.MULTILINE)
    assert sorted(rows) == sorted([*(kind.code for kind in error_classes()), *DecisionCode])
    assert sorted(rows) == sorted(CATALOGUE)


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in error_classes()]
    assert len(codes) == len(set(codes))
