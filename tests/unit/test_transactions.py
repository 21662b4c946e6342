"""The states of a transaction and where each may go."""

import itertools

import pytest

from domain.errors import IllegalTransition
from domain.transactions import LEGAL_MOVES, TransactionStatus, move

PENDING, PROCESSING = TransactionStatus.PENDING, TransactionStatus.PROCESSING
SUCCEEDED, FAILED, RETURNED = TransactionStatus.SUCCEEDED, TransactionStatus.FAILED, TransactionStatus.RETURNED
LEGAL = {
    (PENDING, PROCESSING),
    (PENDING, SUCCEEDED),
    (PENDING, FAILED),
    (PROCESSING, SUCCEEDED),
    (PROCESSING, FAILED),
    (SUCCEEDED, RETURNED),
}


@pytest.mark.parametrize(("current", "target"), list(itertools.product(TransactionStatus, repeat=2)))
def test_a_status_moves_as_the_design_says(current: TransactionStatus, target: TransactionStatus) -> None:
    if current is target or (current, target) in LEGAL:
        assert move(current, target) is target
    else:
        with pytest.raises(IllegalTransition):
            move(current, target)


def test_final_is_what_nothing_moves_on_by_itself() -> None:
    assert {status for status in TransactionStatus if status.final} == {SUCCEEDED, FAILED, RETURNED}


def test_every_payment_can_end() -> None:
    for status in TransactionStatus:
        reachable, frontier = {status}, [status]
        while frontier:
            for target in LEGAL_MOVES[frontier.pop()] - reachable:
                reachable.add(target)
                frontier.append(target)
        assert any(target.final for target in reachable)


def test_a_failure_and_a_return_are_for_ever() -> None:
    assert LEGAL_MOVES[FAILED] == LEGAL_MOVES[RETURNED] == frozenset()
