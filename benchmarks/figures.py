"""Figures: what a run found out, what was aimed at, and whether that was met. A missed target is shown as missed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
LATEST: Final = RESULTS / "latest.json"
PAGE: Final = HERE.parent / "docs/benchmarks/README.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


Direction = Literal["higher", "lower"]
"""Which is better."""


class Figure(BaseModel):
    """One measured number. Without a target it is for information, and `met` is None."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    unit: str
    target: float | None
    direction: Direction
    met: bool | None
    command: str
    """What measures it again."""

    @classmethod
    def of(cls, value: float | None, unit: str, better: Direction, command: str, target: float | None = None) -> Self:
        """A figure, judged. What could not be measured (None) has not met its target."""
        rounded = None if value is None else round(value, 3)
        met = None
        if target is not None:
            met = rounded is not None and (rounded >= target if better == "higher" else rounded <= target)
        return cls(value=rounded, unit=unit, target=target, direction=better, met=met, command=command)

    @property
    def shown(self) -> str:
        """The value for people."""
        return "not measured" if self.value is None else f"{_number(self.value)} {self.unit}"

    @property
    def aim(self) -> str:
        """The target for people; empty where there is none."""
        if self.target is None:
            return ""
        return f"{'≥' if self.direction == 'higher' else '≤'} {_number(self.target)} {self.unit}"


Figures = dict[str, Figure]
_ALL: Final = TypeAdapter(Figures)


def read(path: Path = LATEST) -> Figures:
    """The figures measured last, by name; none where nothing was measured yet."""
    return _ALL.validate_json(path.read_bytes()) if path.exists() else {}


def record(figures: Mapping[str, Figure], path: Path = LATEST, *, instead_of: tuple[str, ...] = ()) -> Figures:
    """Replace these figures and keep the others, which other commands measure. Returns all.

    Figures whose names begin with one of `instead_of` are dropped: of a table, say, that there is no more.
    """
    kept = {name: figure for name, figure in read(path).items() if not name.startswith(instead_of)}
    together = {**kept, **figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(_ALL.dump_python(together), option=orjson.OPT_INDENT_2) + b"\n")
    return together


def table(figures: Mapping[str, Figure]) -> str:
    """A Markdown table."""
    lines = ["| figure | value | target | met | measured by |", "|---|---:|---:|---|---|"]
    lines += [f"| `{name}` | {f.shown} | {f.aim} | {_MET[f.met]} | `{f.command}` |" for name, f in figures.items()]
    return "\n".join(lines)


_MET: Final = {True: "yes", False: "**missed**", None: ""}


def _number(value: float) -> str:
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def write_page(text: str, page: Path = PAGE) -> None:
    """Put the text between the page's markers. Raises ValueError where it has none."""
    before = page.read_text()
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(before):
        raise ValueError(f"{page} has no {BEGIN} … {END}")
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n{text}\n{END}", before))
