"""Values of any type that the ledger's interface names, made from the types alone: a new noun needs nothing here."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import reject
from hypothesis import strategies as st

from domain.errors import SagapayError
from domain.ids import BUCKETS, PrefixedId
from domain.money import CURRENCIES, MAX_MINOR_UNITS, Money

INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=40)
PLAIN: Mapping[Any, st.SearchStrategy[Any]] = {
    NoneType: st.none(),
    bool: st.booleans(),
    int: INTEGERS,
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: TEXTS,
    datetime: st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    Money: st.builds(Money, st.integers(1, MAX_MINOR_UNITS), st.sampled_from(sorted(CURRENCIES))),
}


def anything(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type as an annotation says it."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, parameters = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return st.one_of([anything(choice) for choice in parameters])
    if origin in (list, Sequence):
        return st.lists(anything(parameters[0]), max_size=3)
    if origin is tuple and parameters[1:] == (...,):
        return st.lists(anything(parameters[0]), max_size=3).map(tuple)
    if origin in (dict, Mapping):
        return st.dictionaries(anything(parameters[0]), anything(parameters[1]), max_size=3)
    if isinstance(kind, type) and issubclass(kind, PrefixedId):
        return st.integers(0, BUCKETS - 1).map(kind.new)
    if is_dataclass(kind):
        return _instances(kind)
    return st.from_type(kind)


def _instances(kind: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)

    @st.composite
    def made(draw: st.DrawFn) -> Any:
        values = {field.name: draw(anything(hints[field.name])) for field in fields(kind) if field.init}
        try:
            return kind(**values)
        except (ValueError, SagapayError):
            reject()  # What the noun itself refuses to be.

    return made()


def anatomy(value: Any) -> Any:
    """The value with the type of each of its parts: a str that should be an id is not equal to one."""
    if is_dataclass(value):
        return type(value), {field.name: anatomy(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return type(value), [anatomy(item) for item in value]
    if isinstance(value, dict):
        return {key: anatomy(item) for key, item in value.items()}
    return (datetime if isinstance(value, datetime) else type(value)), value
