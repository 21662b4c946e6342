"""The Federal Reserve's banking days, against its published holiday schedule."""

from datetime import UTC, date, datetime, timedelta

import pytest

from domain.calendar import add_banking_days, bank_holidays, banking_date, is_banking_day

# As Federal Reserve Bank Services publishes them: New Year's Day, Martin Luther King Jr.'s birthday, Washington's
# birthday, Memorial Day, Juneteenth, Independence Day, Labor Day, Columbus Day, Veterans Day, Thanksgiving, Christmas.
# Those on a Saturday are listed as they are: the banks are open on the Friday before.
PUBLISHED = {
    2024: "0101 0115 0219 0527 0619 0704 0902 1014 1111 1128 1225",
    2025: "0101 0120 0217 0526 0619 0704 0901 1013 1111 1127 1225",
    2026: "0101 0119 0216 0525 0619 0704 0907 1012 1111 1126 1225",
    2027: "0101 0118 0215 0531 0619 0705 0906 1011 1111 1125 1225",
    2028: "0101 0117 0221 0529 0619 0704 0904 1009 1111 1123 1225",
    2029: "0101 0115 0219 0528 0619 0704 0903 1008 1112 1122 1225",
    2030: "0101 0121 0218 0527 0619 0704 0902 1014 1111 1128 1225",
}


@pytest.mark.parametrize("year", PUBLISHED)
def test_the_holidays_are_those_published(year: int) -> None:
    published = {date(year, int(day[:2]), int(day[2:])) for day in PUBLISHED[year].split()}
    assert bank_holidays(year) == published


@pytest.mark.parametrize(
    "day",
    [
        date(2026, 7, 3),  # Independence Day is on the Saturday after: not moved.
        date(2027, 6, 18),
        date(2027, 12, 24),
        date(2027, 12, 31),  # New Year's Day of 2028 is a Saturday.
        date(2028, 11, 10),
    ],
)
def test_the_friday_before_a_saturday_holiday_is_a_banking_day(day: date) -> None:
    assert day.weekday() == 4
    assert is_banking_day(day)


@pytest.mark.parametrize("day", [date(2027, 7, 5), date(2029, 11, 12), date(2023, 1, 2), date(2022, 12, 26)])
def test_a_sunday_holiday_is_observed_on_monday(day: date) -> None:
    assert day.weekday() == 0
    assert not is_banking_day(day)


@pytest.mark.parametrize(
    ("day", "days", "due"),
    [
        (date(2026, 10, 7), 1, date(2026, 10, 8)),
        (date(2026, 10, 9), 1, date(2026, 10, 13)),  # Over a weekend and Columbus Day.
        (date(2026, 10, 10), 0, date(2026, 10, 13)),
        (date(2026, 10, 10), 1, date(2026, 10, 14)),
        (date(2026, 12, 24), 1, date(2026, 12, 28)),
        (date(2026, 12, 31), 2, date(2027, 1, 5)),
        (date(2026, 11, 25), 60, date(2027, 2, 24)),
    ],
)
def test_banking_days_are_counted_over_weekends_and_holidays(day: date, days: int, due: date) -> None:
    assert add_banking_days(day, days) == due


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 1, 2, 4, 59, 59, tzinfo=UTC), date(2026, 1, 1)),
        (datetime(2026, 1, 2, 5, 0, tzinfo=UTC), date(2026, 1, 2)),
        (datetime(2026, 7, 2, 3, 59, 59, tzinfo=UTC), date(2026, 7, 1)),
        (datetime(2026, 7, 2, 4, 0, tzinfo=UTC), date(2026, 7, 2)),
        (datetime(2026, 3, 8, 6, 59, 59, tzinfo=UTC), date(2026, 3, 8)),  # Clocks go forward this night.
    ],
)
def test_the_day_is_new_yorks(moment: datetime, day: date) -> None:
    assert banking_date(moment) == day
    assert banking_date(moment.astimezone()) == day


def test_a_year_has_about_250_banking_days() -> None:
    for year in range(2020, 2060):
        days = [date(year, 1, 1) + timedelta(days=number) for number in range(365)]
        assert 248 <= sum(map(is_banking_day, days)) <= 253
