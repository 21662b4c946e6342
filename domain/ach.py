"""ACH returns: what a code means, how long it may come after settlement, and what follows from it.

Source: Nacha Operating Rules, Appendix Four (return reason codes and their time frames).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.calendar import add_banking_days


class Consequence(StrEnum):
    """What the originator does after a return."""

    PRESENT_AGAIN = "present_again"
    RELINK = "relink"
    STOP_DEBITS = "stop_debits"
    NEW_CONSENT = "new_consent"
    CORRECT = "correct"
    ASK_A_PERSON = "ask_a_person"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class ReturnReason:
    """A return code. It comes within `banking_days` or `calendar_days` of settlement, whichever is not 0."""

    code: str
    meaning: str
    consequence: Consequence
    banking_days: int = 0
    calendar_days: int = 0

    def last_day(self, settled_on: date) -> date:
        """The last day on which a payment that settled on `settled_on` may come back with this code."""
        if self.calendar_days:
            return settled_on + timedelta(days=self.calendar_days)
        return add_banking_days(settled_on, self.banking_days)


PRESENTATIONS: Final = 2
"""How often a returned debit may be presented again (R01, R09) …"""

PRESENT_WITHIN_DAYS: Final = 180
"""… and until how many calendar days after the first one settled."""

_QUICK, _LONG = 2, 60

RETURN_REASONS: Final = MappingProxyType(
    {
        reason.code: reason
        for reason in (
            ReturnReason("R01", "Insufficient funds", Consequence.PRESENT_AGAIN, _QUICK),
            ReturnReason("R02", "Account closed", Consequence.RELINK, _QUICK),
            ReturnReason("R03", "No account, or unable to locate it", Consequence.RELINK, _QUICK),
            ReturnReason("R04", "Invalid account number", Consequence.RELINK, _QUICK),
            ReturnReason(
                "R05",
                "Unauthorised debit of a consumer under a corporate code",
                Consequence.STOP_DEBITS,
                calendar_days=_LONG,
            ),
            ReturnReason("R07", "Authorisation revoked", Consequence.STOP_DEBITS, calendar_days=_LONG),
            ReturnReason("R08", "Payment stopped", Consequence.NEW_CONSENT, _QUICK),
            ReturnReason("R09", "Uncollected funds", Consequence.PRESENT_AGAIN, _QUICK),
            ReturnReason("R10", "Originator not known or not authorised", Consequence.STOP_DEBITS, calendar_days=_LONG),
            ReturnReason(
                "R11", "Not according to the terms of the authorisation", Consequence.CORRECT, calendar_days=_LONG
            ),
            ReturnReason("R13", "Invalid routing number", Consequence.RELINK, _QUICK),
            ReturnReason("R14", "Payee deceased", Consequence.ASK_A_PERSON, _QUICK),
            ReturnReason("R15", "Beneficiary or account holder deceased", Consequence.ASK_A_PERSON, _QUICK),
            ReturnReason("R16", "Account frozen", Consequence.RELINK, _QUICK),
            ReturnReason("R20", "Not a transaction account", Consequence.RELINK, _QUICK),
            ReturnReason("R23", "Credit refused by the receiver", Consequence.ACCEPT, _QUICK),
            ReturnReason("R29", "Corporate customer: not authorised", Consequence.STOP_DEBITS, _QUICK),
        )
    }
)
"""By code. A code that is not here is for a person to look at."""
