"""docs/reference/settings.md lists exactly the settings that there are."""

import re

from tests.house.settings_page import PAGE, TABLES, variable, with_tables


def test_the_page_is_what_the_code_says() -> None:
    page = PAGE.read_text()
    assert page == with_tables(page), "run `make docs`"


def test_every_setting_has_one_row() -> None:
    rows = re.findall(r"^\| `(SAGAPAY_\w+)` \|", PAGE.read_text(), flags=re.MULTILINE)
    assert sorted(rows) == sorted(variable(model, field) for model in TABLES.values() for field in model.model_fields)
