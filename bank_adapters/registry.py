"""The registry: a bank's name → how its adapter is made from the settings. Adding a bank is one line here."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from bank_adapters.port import BankAdapter
from bank_adapters.simulated.adapter import SimulatedBank
from domain.errors import UnknownBank
from infra.settings import Settings

BANKS: Final = MappingProxyType[str, Callable[[Settings], BankAdapter]](
    {
        SimulatedBank.NAME: SimulatedBank.from_settings,
    }
)


def bank_names() -> tuple[str, ...]:
    """Every bank that accounts can be linked at."""
    return tuple(BANKS)


def open_bank(name: str, settings: Settings) -> BankAdapter:
    """The adapter of the bank called `name`; the caller closes it. Raises UnknownBank."""
    factory = BANKS.get(name)
    if factory is None:
        raise UnknownBank(f"there is no bank {name!r}; known: {', '.join(BANKS)}")
    return factory(settings)
