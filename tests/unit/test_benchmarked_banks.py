"""What the benchmark of a dead bank makes of what it has found."""

import pytest

from benchmarks.banks.measure import Found
from benchmarks.banks.report import drain_rate, figures_of
from benchmarks.banks.worker import CALLS_PER_SECOND


def test_rounds_that_drain_at_the_limit_each_are_not_added_up() -> None:
    one = [number / CALLS_PER_SECOND for number in range(1_000)]
    found = Found(alone=[100.0], beside=[100.0], ended_at=[one, one])
    assert drain_rate(found) == pytest.approx(CALLS_PER_SECOND, rel=0.01)
    assert figures_of(found, "a test")["bank_drain_to_limit"].value == pytest.approx(1, rel=0.01)


def test_nothing_that_waited_is_no_rate() -> None:
    assert drain_rate(Found()) is None
    assert figures_of(Found(), "a test")["bank_drain_rate"].value is None
