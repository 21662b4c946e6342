"""How much of a deposit can be spent at once, and when the rest can: what a bank may still take back is at risk.

| rail | at once | the rest |
|---|---|---|
| instant | all: it is final | |
| ach | up to `SAGAPAY_ACH_AT_ONCE` of each deposit | after `SAGAPAY_ACH_WAIT_DAYS` banking days, once settled |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from types import MappingProxyType
from typing import Final

from domain.calendar import BANKING_ZONE, add_banking_days, banking_date
from domain.rails import Rail


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Of one deposit over a rail: minor units that are available at once, and banking days until the rest is."""

    at_once: int
    banking_days: int


DepositTerms = Mapping[Rail, Tier]
"""The rails whose deposits wait; those over any other are available whole."""

NOTHING_WAITS: Final[DepositTerms] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferral:
    """What of a deposit is not available yet, in minor units, and from when it can be. Business time."""

    amount: int
    available_at: datetime


def deferral(terms: DepositTerms, rail: Rail | None, amount: int, credited_at: datetime) -> Deferral | None:
    """What waits of a deposit of `amount` minor units that is credited at `credited_at`, if anything does.

    It waits until the day begins in New York, counted in banking days from the one on which it is credited.
    """
    tier = terms.get(rail) if rail is not None else None
    if tier is None or amount <= tier.at_once:
        return None
    day = add_banking_days(banking_date(credited_at), tier.banking_days)
    begins = datetime.combine(day, time.min, BANKING_ZONE)
    return Deferral(amount=amount - tier.at_once, available_at=begins.astimezone(UTC))
