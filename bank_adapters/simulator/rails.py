"""The bank's two rails: instant is final within seconds; ACH collects a day's payments and settles on banking days."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from bank_adapters.simulator.database import to_micros, to_moment
from domain.calendar import BANKING_ZONE, add_banking_days, is_banking_day


class Rail(StrEnum):
    """How a payment travels."""

    INSTANT = "instant"
    ACH = "ach"


LIMITS: Final = MappingProxyType({Rail.INSTANT: 1_000_000_000, Rail.ACH: 9_999_999_999})
"""The most that one payment moves, minor units: what RTP takes since 2025, and what an ACH entry has digits for."""

CUT_OFF: Final = time(16, 45)
"""What comes later on a banking day, or on another day, goes with the next banking day's batch."""

SETTLES_AT: Final = time(8, 30)
"""On the banking day after the batch's, New York."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A day's ACH payments: its name, until when payments join and leave it, and when it settles (microseconds)."""

    name: str
    closes_at: int
    settles_at: int


def batch_for(now: int) -> Batch:
    """The batch of a payment that comes at `now` (microseconds since 1970)."""
    here = to_moment(now).astimezone(BANKING_ZONE)
    day = here.date()
    if not is_banking_day(day) or here.time() >= CUT_OFF:
        day = add_banking_days(day + timedelta(days=1), 0)
    return Batch(f"ach-{day}", _at(day, CUT_OFF), _at(add_banking_days(day, 1), SETTLES_AT))


def _at(day: date, when: time) -> int:
    return to_micros(datetime.combine(day, when, BANKING_ZONE))
