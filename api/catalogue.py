"""Every code an answer can carry, read from domain/errors.py."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from domain import errors
from domain.errors import DecisionCode, SagapayError


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a code says. `status` is None for decisions: they are recorded, and their answer is 202."""

    code: str
    status: int | None
    title: str
    meaning: str
    retryable: bool


def title_of(code: str) -> str:
    """A code as a heading."""
    return code.replace("_", " ").capitalize()


def error_classes(base: type[SagapayError] = SagapayError) -> Iterator[type[SagapayError]]:
    """Every named error of the domain, parents first."""
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
            yield from error_classes(kind)


def _meaning_of_error(kind: type[SagapayError]) -> Meaning:
    sentence = " ".join((kind.__doc__ or "").split())
    return Meaning(
        code=kind.code, status=kind.status, title=title_of(kind.code), meaning=sentence, retryable=kind.retryable
    )


def _meaning_of_decision(code: DecisionCode) -> Meaning:
    return Meaning(code=code, status=None, title=title_of(code), meaning=code.meaning, retryable=False)


CATALOGUE: Final = MappingProxyType(
    {kind.code: _meaning_of_error(kind) for kind in error_classes()}
    | {code.value: _meaning_of_decision(code) for code in DecisionCode}
)
