"""Every kind of attention that the code can raise has a runbook, and every runbook somebody who does it in a test."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.contracts.payments import CONTRADICTION
from domain.contracts.returns import Unmatched
from domain.errors import (
    BrokerUnavailable,
    LedgerRejected,
    NotRecordedYet,
    SagapayError,
    Unavailable,
    WalletBusy,
    WorkflowsUnavailable,
)
from tests.house.tree import ROOT
from tests.operating.every_runbook import PERFORMERS
from tests.operating.runbook import Block, runbooks
from workflows.details import ANY_OTHER, KINDS, runbook_of
from workflows.payment import TIMED_OUT

MET_BY_NO_WORKFLOW: frozenset[type[SagapayError]] = frozenset(
    {Unavailable, BrokerUnavailable, NotRecordedYet, WalletBusy, WorkflowsUnavailable}
)
"""Outages that only the API, the relay and the sweeper hear of; a batch that meets one tries for ever."""
NAMED_ELSEWHERE = {"CONTRADICTION", "PAYMENT_OPEN", "code", "error.code"}
"""What failures are typed by there. A return waits for ever for PAYMENT_OPEN; codes are those of errors."""


def _kinds(error: type[SagapayError]) -> Iterator[type[SagapayError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _kinds(kind)


def _raised() -> set[str]:
    errors = {kind for base in (Unavailable, LedgerRejected) for kind in _kinds(base)}
    met = {kind.code for kind in errors} - {kind.code for kind in MET_BY_NO_WORKFLOW}
    return met | set(Unmatched) | {TIMED_OUT, CONTRADICTION}


def test_every_reason_has_words_and_a_runbook() -> None:
    assert _raised() == KINDS
    assert runbooks().keys() == KINDS | {ANY_OTHER}
    assert runbook_of("KeyError").endswith("#any_other")


@pytest.mark.parametrize("folder", ["workflows", "activities"])
def test_failures_have_no_types_but_those(folder: str) -> None:
    sources = [path.read_text() for path in Path(ROOT / folder).glob("*.py")]
    calls = [call for source in sources for call in re.findall(r"ApplicationError\((.*?)\n? *\)", source, re.DOTALL)]
    typed = {name for call in calls for name in re.findall(r"type=([\w.]+)", call)}
    assert typed
    assert typed <= NAMED_ELSEWHERE


def test_every_runbook_is_done_by_a_test() -> None:
    assert PERFORMERS.keys() == runbooks().keys()


def test_every_runbook_can_be_done_from_its_blocks() -> None:
    for reason, book in runbooks().items():
        words = [block.words for block in book.left]
        assert words[0] == "FILTER", reason
        assert "sh" in words or any(word.startswith("UPDATE ") for word in words), reason


def test_a_block_is_taken_once() -> None:
    book = runbooks()["bank_unavailable"]
    assert book.take("FILTER") == 'Attention = "bank_unavailable"'
    assert Block("FILTER", 'Attention = "bank_unavailable"') not in book.left
    with pytest.raises(AssertionError):
        book.take("FILTER")
