"""Why the bank refuses: Nacha's ACH return codes where there is one (Nacha Operating Rules, Appendix Four)."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Refusal:
    """A code, a sentence, and whether a new payment under a new reference may succeed later."""

    code: str
    detail: str
    retryable: bool = False


INSUFFICIENT_FUNDS: Final = Refusal("R01", "Insufficient funds", retryable=True)
ACCOUNT_CLOSED: Final = Refusal("R02", "Account closed")
NO_ACCOUNT: Final = Refusal("R03", "No account, or unable to locate it")
ACCOUNT_FROZEN: Final = Refusal("R16", "Account frozen")
# The bank's own: no ACH code speaks of the originator's balance, or of a currency.
SETTLEMENT_EMPTY: Final = Refusal("S01", "Sagapay's settlement account does not cover the payment", retryable=True)
WRONG_CURRENCY: Final = Refusal("S02", "The account is kept in another currency")

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
        )
    }
)


def refusal_of(code: str | None) -> Refusal:
    """The refusal of a requested code; insufficient funds where none was requested."""
    if code is None:
        return INSUFFICIENT_FUNDS
    return _KNOWN.get(code, Refusal(code, f"Refused with {code}"))
