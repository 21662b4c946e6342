"""What may be at a day's end, said in one place: who may be parked, why payments may fail, what is not booked."""

from collections.abc import Mapping
from datetime import date
from typing import Final

from domain.calendar import add_banking_days
from domain.contracts.returns import Unmatched
from domain.errors import DecisionCode
from domain.transactions import TransactionKind
from tests.simulation.plan import Comeback, Manner

SLOW_CODES: Final = frozenset({"R05", "R07", "R10", "R11", "R99"})
"""Of those that the plan draws, they may come for 60 calendar days; the others for 2 banking days."""
_CALENDAR_DAYS, _BANKING_DAYS = 60, 2

ACH_AT_ONCE: Final = 3_000
"""What can be spent at once of a deposit over ACH; the rest of a larger one is held, for days."""

WAITING_FOR_THE_BANK: Final = frozenset({"bank_unavailable", "bank_unknown", "timed_out"})
"""Why a payment may be parked while its bank is away, or its worker was killed: a `retry` ends it."""

PARKS: Final[Mapping[Manner, Unmatched]] = {
    Manner.LATE: Unmatched.LATE,
    Manner.TWICE: Unmatched.TWICE,
    Manner.WRONG_AMOUNT: Unmatched.WRONG_AMOUNT,
}
"""Returns that are not as networks allow; of those that come twice, the second one."""

_WALLET_SAYS_NO: Final = frozenset[str]({DecisionCode.INSUFFICIENT_FUNDS, DecisionCode.WALLET_OWES})
_BANK_SAYS_NO: Final = frozenset[str](
    {DecisionCode.BANK_REFUSED, DecisionCode.BANK_ACCOUNT_INACTIVE, DecisionCode.RESOLVED_UNPAID}
)
FAILURES: Final[Mapping[TransactionKind, frozenset[str]]] = {
    TransactionKind.TRANSFER: _WALLET_SAYS_NO,
    TransactionKind.DEPOSIT: _BANK_SAYS_NO,
    TransactionKind.WITHDRAWAL: _WALLET_SAYS_NO | _BANK_SAYS_NO,
}


def is_due(comeback: Comeback, settled: date, today: date) -> bool:
    """Whether a payment that settled on that day is to come back today.

    The day of grace, on which it depends on the hour what is in time, is left out.
    """
    if comeback.code in SLOW_CODES:
        age = (today - settled).days
        last = _CALENDAR_DAYS
    else:
        age = sum(1 for days in range(1, 8) if add_banking_days(settled, days) <= today)
        last = _BANKING_DAYS
    if comeback.manner is Manner.LATE:
        return age > last + 1
    return comeback.after_days <= age <= last
