"""Money: what is one, what is not, and how people read it."""

import pytest

from domain.errors import InvalidMoney, UnknownCurrency
from domain.money import CURRENCIES, MAX_MINOR_UNITS, Money, format_minor


@pytest.mark.parametrize(
    ("minor_units", "currency", "shown"),
    [
        (1, "USD", "0.01 USD"),
        (100, "USD", "1.00 USD"),
        (123_456, "EUR", "1234.56 EUR"),
        (MAX_MINOR_UNITS, "USD", "10000000000.00 USD"),
        (7, "JPY", "7 JPY"),
        (1_234, "KWD", "1.234 KWD"),
        (5, "BHD", "0.005 BHD"),
    ],
)
def test_people_read_major_units(minor_units: int, currency: str, shown: str) -> None:
    assert str(Money(minor_units, currency)) == shown
    assert Money.parse(shown) == Money(minor_units, currency)


@pytest.mark.parametrize("minor_units", [0, -1, MAX_MINOR_UNITS + 1, 1.0, 0.5, "1", None, True, b"1", float("nan")])
def test_anything_but_a_positive_integer_in_bounds_is_refused(minor_units: object) -> None:
    with pytest.raises(InvalidMoney):
        Money(minor_units, "USD")  # type: ignore[arg-type]


@pytest.mark.parametrize("currency", ["usd", "US", "USDX", "", "XXX", "XAU", "DEM", "$", " USD"])
def test_only_currencies_in_use_are_known(currency: str) -> None:
    with pytest.raises(UnknownCurrency):
        Money(1, currency)


@pytest.mark.parametrize(
    "text",
    [
        "1 USD",
        "1.0 USD",
        "1.000 USD",
        "-1.00 USD",
        "+1.00 USD",
        "1,00 USD",
        "1.00",
        "1.00  USD",
        "USD 1.00",
        "1.0.0 USD",
        ".00 USD",
        "0.00 USD",
        "1e2.00 USD",
        "1.00 JPY",
        "1_0.00 USD",
        "\u0661.00 USD",
        "nan USD",
        "",
    ],
)
def test_text_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises((InvalidMoney, UnknownCurrency)):
        Money.parse(text)


def test_signed_amounts_are_shown_with_their_sign() -> None:
    assert format_minor(-1_234, "USD") == "-12.34 USD"
    assert format_minor(-1, "USD") == "-0.01 USD"
    assert format_minor(0, "USD") == "0.00 USD"
    assert format_minor(-5, "JPY") == "-5 JPY"


def test_the_exponents_are_those_of_iso_4217() -> None:
    assert {CURRENCIES[code] for code in ("JPY", "KRW", "CLP", "ISK", "VND")} == {0}
    assert {CURRENCIES[code] for code in ("USD", "EUR", "GBP", "CHF", "MXN")} == {2}
    assert {CURRENCIES[code] for code in ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")} == {3}
    assert all(len(code) == 3 and code.isupper() for code in CURRENCIES)


def test_money_is_a_value() -> None:
    amount = Money(5, "USD")
    assert amount == Money(5, "USD") != Money(5, "EUR")
    assert len({amount, Money(5, "USD")}) == 1
    with pytest.raises(AttributeError):
        amount.minor_units = 6  # type: ignore[misc]
