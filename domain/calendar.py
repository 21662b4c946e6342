"""The business calendar: the Federal Reserve's banking days, in America/New_York.

Source of the holidays: Federal Reserve Bank Services, Holiday Schedule. One that falls on a Saturday is not moved;
one that falls on a Sunday is observed on the Monday after.
"""

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

BANKING_ZONE: Final = ZoneInfo("America/New_York")
_MONDAY, _THURSDAY, _SATURDAY, _SUNDAY = 0, 3, 5, 6


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _last_monday_of_may(year: int) -> date:
    last = date(year, 5, 31)
    return last - timedelta(days=last.weekday())


def _observed(day: date) -> date:
    return day + timedelta(days=1) if day.weekday() == _SUNDAY else day


@lru_cache(maxsize=256)
def bank_holidays(year: int) -> frozenset[date]:
    """The eleven holidays of a year, as observed."""
    fixed = (date(year, 1, 1), date(year, 6, 19), date(year, 7, 4), date(year, 11, 11), date(year, 12, 25))
    moving = (
        _nth(year, 1, _MONDAY, 3),
        _nth(year, 2, _MONDAY, 3),
        _last_monday_of_may(year),
        _nth(year, 9, _MONDAY, 1),
        _nth(year, 10, _MONDAY, 2),
        _nth(year, 11, _THURSDAY, 4),
    )
    return frozenset(map(_observed, fixed)) | frozenset(moving)


def banking_date(moment: datetime) -> date:
    """The calendar date of `moment` in New York."""
    return _banking_date_in(moment.replace(second=0, microsecond=0))


@lru_cache(maxsize=256)
def _banking_date_in(minute: datetime) -> date:
    return minute.astimezone(BANKING_ZONE).date()


def is_banking_day(day: date) -> bool:
    """Whether the Federal Reserve is open on `day`."""
    return day.weekday() < _SATURDAY and day not in bank_holidays(day.year)


def add_banking_days(day: date, days: int) -> date:
    """The banking day `days` banking days after `day`; with 0, `day` itself or the next one that is open."""
    while not is_banking_day(day):
        day += timedelta(days=1)
    for _ in range(days):
        day += timedelta(days=1)
        while not is_banking_day(day):
            day += timedelta(days=1)
    return day
