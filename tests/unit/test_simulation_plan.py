"""The simulation's plan is a function of its seed alone, and has in it all that the page counts."""

from datetime import date

import pytest

from bank_adapters.simulator.faults import FaultKind
from domain.calendar import is_banking_day
from domain.transactions import TransactionKind
from tests.simulation.expectations import is_due
from tests.simulation.plan import BUSINESS_DAYS, Comeback, Hour, Manner, Outage, Plan, Remedy, plan_of

FEW_SEEDS = range(1, 6)


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return [plan_of(seed) for seed in FEW_SEEDS]


def test_a_seed_has_one_plan_and_another_seed_another(plans: list[Plan]) -> None:
    assert plans == [plan_of(seed) for seed in FEW_SEEDS]
    assert len({plan.days for plan in plans}) == len(plans)


def test_each_plan_is_a_month_of_banking_days_and_all_return_windows(plans: list[Plan]) -> None:
    for plan in plans:
        dates = [day.date for day in plan.days]
        assert dates == sorted(set(dates))
        assert all(map(is_banking_day, dates))
        last = dates[BUSINESS_DAYS - 1]
        assert all(not day.payments for day in plan.days[BUSINESS_DAYS:])
        assert (dates[-1] - last).days > 61
        assert 200 < len(list(plan.payments)) < 450
        assert {payment.kind for payment in plan.payments} == set(TransactionKind)
        assert {day.outage for day in plan.days} == {None, *Outage}
        assert sum(day.killed_at is not None for day in plan.days) == 2
        assert sum(day.invented is not None for day in plan.days) == 1


def test_a_few_plans_have_every_fault_every_remedy_and_every_manner_of_coming_back(plans: list[Plan]) -> None:
    payments = [payment for plan in plans for payment in plan.payments]
    assert {fault.kind for payment in payments for fault in payment.faults} == set(FaultKind)
    assert {payment.remedy for payment in payments} == {None, *Remedy}
    assert {payment.comeback.manner for payment in payments if payment.comeback} == set(Manner)


def test_nobody_has_two_payments_with_the_bank_in_one_hour(plans: list[Plan]) -> None:
    for day in (day for plan in plans for day in plan.days):
        for _, payments in day.payments:
            people = [payment.person for payment in payments if payment.rails]
            assert len(people) == len(set(people))


@pytest.mark.parametrize(
    ("code", "manner", "days", "due"),
    [
        ("R01", Manner.IN_TIME, 1, True),
        ("R01", Manner.IN_TIME, 4, True),  # A weekend lies between: the second banking day.
        ("R01", Manner.IN_TIME, 5, False),
        ("R01", Manner.LATE, 5, False),
        ("R01", Manner.LATE, 6, True),
        ("R10", Manner.IN_TIME, 0, False),
        ("R10", Manner.IN_TIME, 60, True),
        ("R10", Manner.IN_TIME, 61, False),
        ("R10", Manner.LATE, 61, False),
        ("R10", Manner.LATE, 62, True),
    ],
)
def test_returns_come_on_days_on_which_it_is_clear_whether_they_are_in_time(
    code: str, manner: Manner, days: int, due: bool
) -> None:
    thursday = date(2033, 3, 3)
    today = date.fromordinal(thursday.toordinal() + days)
    assert is_due(Comeback(code, manner, after_days=1), thursday, today) is due


def test_ach_s_cut_off_lies_between_noon_and_evening() -> None:
    assert Hour.NOON.on(date(2033, 3, 3)).hour < 16 < Hour.EVENING.on(date(2033, 3, 3)).hour
