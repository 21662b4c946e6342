"""Money: an integer of minor units and a currency, one type, never a float, never a bare int across a boundary."""

from dataclasses import dataclass
from typing import Final, Self

from domain.errors import InvalidMoney, UnknownCurrency

MAX_MINOR_UNITS: Final = 10**12

# ISO 4217, by the number of decimal places of the minor unit.
_BY_EXPONENT: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR "
    "ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN "
    "MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS "
    "SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
CURRENCIES: Final = {code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()}


@dataclass(frozen=True, slots=True)
class Money:
    """A positive amount: `minor_units` from 1 to 10^12 of an ISO 4217 `currency`.

    Raises InvalidMoney for anything that is not such an integer (a bool is not), UnknownCurrency for the rest.
    """

    minor_units: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor_units) is not int or not 1 <= self.minor_units <= MAX_MINOR_UNITS:
            raise InvalidMoney
        if self.currency not in CURRENCIES:
            raise UnknownCurrency(f"{self.currency!r} is not an ISO 4217 currency in use")

    def __str__(self) -> str:
        return format_minor(self.minor_units, self.currency)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote, e.g. "12.34 USD". Raises InvalidMoney or UnknownCurrency."""
        number, _, currency = text.partition(" ")
        if currency not in CURRENCIES:
            raise UnknownCurrency(f"{currency!r} is not an ISO 4217 currency in use")
        whole, _, fraction = number.partition(".")
        digits = whole + fraction
        if len(fraction) != CURRENCIES[currency] or not digits.isascii() or not digits.isdigit():
            raise InvalidMoney(f"{text!r} is not an amount with {CURRENCIES[currency]} decimal places")
        return cls(int(digits), currency)


def format_minor(minor_units: int, currency: str) -> str:
    """Any signed number of minor units for people, e.g. -1234 USD → "-12.34 USD"."""
    exponent = CURRENCIES[currency]
    sign, digits = "-" if minor_units < 0 else "", str(abs(minor_units)).rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]} {currency}" if exponent else f"{sign}{digits} {currency}"
