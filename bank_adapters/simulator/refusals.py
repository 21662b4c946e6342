"""Why the bank refuses: Nacha's ACH return codes where there is one (Nacha Operating Rules, Appendix Four)."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Refusal:
    """A code, a sentence, whether a new payment under a new reference may succeed later, and whether it is the rail's.

    What the rail alone refuses, another rail may carry.
    """

    code: str
    detail: str
    retryable: bool = False
    rail_only: bool = False


INSUFFICIENT_FUNDS: Final = Refusal("R01", "Insufficient funds", retryable=True)
ACCOUNT_CLOSED: Final = Refusal("R02", "Account closed")
NO_ACCOUNT: Final = Refusal("R03", "No account, or unable to locate it")
ACCOUNT_FROZEN: Final = Refusal("R16", "Account frozen")
# The bank's own: no ACH code speaks of the originator's balance, or of a currency.
SETTLEMENT_EMPTY: Final = Refusal("S01", "Sagapay's settlement account does not cover the payment", retryable=True)
WRONG_CURRENCY: Final = Refusal("S02", "The account is kept in another currency")
OVER_LIMIT: Final = Refusal("S03", "The amount is above the rail's limit", rail_only=True)
NOT_ON_RAIL: Final = Refusal("S04", "The account cannot be reached over this rail", rail_only=True)

_KNOWN: Final = MappingProxyType(
    {
        refusal.code: refusal
        for refusal in (
            INSUFFICIENT_FUNDS,
            ACCOUNT_CLOSED,
            NO_ACCOUNT,
            Refusal("R09", "Uncollected funds", retryable=True),
            Refusal("R10", "The customer advises that the entry is not authorised"),
            ACCOUNT_FROZEN,
            Refusal("R20", "Not a transaction account"),
            Refusal("R29", "The corporate customer advises that the entry is not authorised"),
            SETTLEMENT_EMPTY,
            WRONG_CURRENCY,
            OVER_LIMIT,
            NOT_ON_RAIL,
        )
    }
)


def refusal_of(code: str | None) -> Refusal:
    """The refusal of a requested code; insufficient funds where none was requested."""
    if code is None:
        return INSUFFICIENT_FUNDS
    return _KNOWN.get(code, Refusal(code, f"Refused with {code}"))
