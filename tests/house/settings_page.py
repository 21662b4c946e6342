"""The tables of docs/reference/settings.md, made from the settings themselves.

`make docs` (python -m tests.house.settings_page) writes them anew; a test says when they differ.
"""

import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from infra.local.settings import LocalSettings
from infra.settings import Settings
from tests.house.tree import ROOT

PAGE = ROOT / "docs/reference/settings.md"
TABLES: dict[str, type[BaseSettings]] = {"settings": Settings, "local": LocalSettings}
_KINDS = {int: "integer", float: "number", str: "text", bool: "true or false", Path: "path", tuple: "comma-separated"}


def variable(model: type[BaseSettings], field: str) -> str:
    """The environment variable of a field."""
    return f"{model.model_config['env_prefix']}{field}".upper()


def _kind(info: FieldInfo) -> str:
    annotation: Any = info.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(choice for choice in get_args(annotation) if choice is not NoneType)
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in (None, tuple):  # a Literal
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    return _KINDS[get_origin(annotation) or annotation]


def _shown(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def table(model: type[BaseSettings]) -> str:
    """A Markdown table with a row for each field, in the order of the class."""
    rows = ["| variable | is | default | what it says |", "|---|---|---|---|"]
    for field, info in model.model_fields.items():
        assert info.description, f"{field} wants a description"
        rows.append(f"| `{variable(model, field)}` | {_kind(info)} | {_shown(info.default)} | {info.description} |")
    return "\n".join(rows)


def with_tables(page: str) -> str:
    """The page with every table between its markers made anew."""
    for name, model in TABLES.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        page = re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{table(model)}\n{end}", page, flags=re.DOTALL)  # noqa: B023
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
