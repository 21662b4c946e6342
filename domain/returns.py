"""Why settled bank payments come back, until when, and what follows for the bank account.

Source: Nacha Operating Rules, return reason codes and time frames. Days count from settlement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.calendar import add_banking_days, banking_date

BANKING_DAYS: Final = 2
CALENDAR_DAYS: Final = 60
GRACE_DAYS: Final = 1
"""A return that the bank made in time is booked, and read by us, on the next day at the latest."""


class Remedy(StrEnum):
    """What may be done after a return. Nothing is presented again without somebody asking for it."""

    PRESENT_AGAIN = "present_again"
    NEW_CONSENT = "new_consent"
    CORRECT = "correct"
    RELINK = "relink"
    STOP_DEBITS = "stop_debits"
    ASK_A_PERSON = "ask_a_person"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class ReturnCode:
    """A reason code: its meaning, whether it may come for 60 calendar days or for 2 banking days, and what follows."""

    meaning: str
    remedy: Remedy
    slow: bool = False


_UNKNOWN: Final = ReturnCode("returned for a reason that is not in our table", Remedy.ASK_A_PERSON, slow=True)

RETURN_CODES: Final[Mapping[str, ReturnCode]] = MappingProxyType(
    {
        "R01": ReturnCode("insufficient funds", Remedy.PRESENT_AGAIN),
        "R09": ReturnCode("uncollected funds", Remedy.PRESENT_AGAIN),
        "R02": ReturnCode("account closed", Remedy.RELINK),
        "R03": ReturnCode("no account", Remedy.RELINK),
        "R04": ReturnCode("invalid account number", Remedy.RELINK),
        "R13": ReturnCode("invalid routing number", Remedy.RELINK),
        "R16": ReturnCode("account frozen", Remedy.RELINK),
        "R20": ReturnCode("not a transaction account", Remedy.RELINK),
        "R05": ReturnCode("unauthorised debit with a corporate code", Remedy.STOP_DEBITS, slow=True),
        "R07": ReturnCode("authorisation revoked", Remedy.STOP_DEBITS, slow=True),
        "R10": ReturnCode("not known or not authorised", Remedy.STOP_DEBITS, slow=True),
        "R29": ReturnCode("corporate customer: not authorised", Remedy.STOP_DEBITS),
        "R08": ReturnCode("payment stopped", Remedy.NEW_CONSENT),
        "R11": ReturnCode("not according to the terms of the authorisation", Remedy.CORRECT, slow=True),
        "R14": ReturnCode("payee deceased", Remedy.ASK_A_PERSON),
        "R15": ReturnCode("beneficiary deceased", Remedy.ASK_A_PERSON),
        "R23": ReturnCode("credit refused by the receiver", Remedy.NOTHING),
    }
)


def return_code(code: str) -> ReturnCode:
    """What a code means; one that is not in the table is for a person to look at."""
    return RETURN_CODES.get(code, _UNKNOWN)


def may_still_return(code: str, settled_at: datetime, returned_at: datetime) -> bool:
    """Whether a return with this code, of a payment that settled then, came within its window. Business time."""
    settled, returned = banking_date(settled_at), banking_date(returned_at)
    if return_code(code).slow:
        last = settled + timedelta(days=CALENDAR_DAYS + GRACE_DAYS)
    else:
        last = add_banking_days(settled, BANKING_DAYS + GRACE_DAYS)
    return returned <= last
