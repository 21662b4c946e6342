"""docs/events/ has exactly the schemas of the events that there are, and a change that breaks a reader is refused."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from tests.house.event_schemas import FOLDER, Schema, breaks, broken, committed, index, schemas, text_of, write

NAME = "transaction.returned.v1.json"


def test_the_folder_is_what_the_code_says() -> None:
    assert broken(committed(), schemas()) == [], "readers would break: this wants a new version"
    assert {path.name for path in FOLDER.iterdir()} == {*schemas(), "README.md"}, "run `make docs`"
    for name, schema in schemas().items():
        assert (FOLDER / name).read_text() == text_of(schema), "run `make docs`"
    assert (FOLDER / "README.md").read_text() == index(), "run `make docs`"


def _data(schema: Schema) -> Schema:
    found: Schema = schema["$defs"]["TransactionReturnedEvent"]
    return found


def _remove(schema: Schema) -> None:
    del _data(schema)["properties"]["failure"]


def _retype(schema: Schema) -> None:
    _data(schema)["properties"]["amount"]["type"] = "string"


def _require(schema: Schema) -> None:
    _data(schema)["required"].append("failure")


def _make_optional(schema: Schema) -> None:
    _data(schema)["required"].remove("amount")


def _add_required(schema: Schema) -> None:
    _data(schema)["properties"]["fee"] = {"type": "integer"}
    _data(schema)["required"].append("fee")


def _drop_an_enum_value(schema: Schema) -> None:
    schema["$defs"]["TransactionStatus"]["enum"].remove("returned")


def _never_null(schema: Schema) -> None:
    _data(schema)["properties"]["memo"] = {"type": "string"}


def _remove_from_the_envelope(schema: Schema) -> None:
    del schema["properties"]["position"]


def _remove_within_a_choice(schema: Schema) -> None:
    del schema["$defs"]["Failure"]["properties"]["code"]


@pytest.mark.parametrize(
    "change",
    [
        _remove,
        _retype,
        _require,
        _make_optional,
        _add_required,
        _drop_an_enum_value,
        _never_null,
        _remove_from_the_envelope,
        _remove_within_a_choice,
    ],
)
def test_a_change_that_breaks_a_reader_is_named(change: Callable[[Schema], None]) -> None:
    old = schemas()[NAME]
    new = deepcopy(old)
    change(new)
    assert breaks(old, new)


def test_optional_fields_enum_values_and_words_may_be_added() -> None:
    old = schemas()[NAME]
    new = deepcopy(old)
    _data(new)["properties"]["trace"] = {"type": "string"}
    _data(new)["description"] = "In other words."
    new["$defs"]["TransactionStatus"]["enum"].append("disputed")
    assert breaks(old, new) == []


def test_writing_refuses_what_would_break_a_reader(tmp_path: Path) -> None:
    write(tmp_path)
    promised = schemas()[NAME]
    _data(promised)["properties"]["fee"] = {"type": "integer"}
    (tmp_path / NAME).write_text(text_of(promised))
    with pytest.raises(SystemExit, match="fee is gone"):
        write(tmp_path)
    assert (tmp_path / NAME).read_text() == text_of(promised)
