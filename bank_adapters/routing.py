"""Which rails a payment is tried over, decided once: a later run must ask the same ones in the same order."""

from bank_adapters.port import Capabilities
from domain.errors import InvalidRequest
from domain.money import Money
from domain.rails import Rail, RailChoice


def rails_for(choice: RailChoice, amount: Money, capabilities: Capabilities) -> tuple[Rail, ...]:
    """The rails to try, in order: the one that was asked for, or all that carry the amount, the bank's preferred first.

    An amount that none carries is left to the rail with the highest limit to refuse. Raises InvalidRequest for a rail
    that the bank does not have.
    """
    if choice is not RailChoice.AUTO:
        rail = Rail(choice)
        if capabilities.of(rail) is None:
            raise InvalidRequest(f"This bank has no rail {rail}.")
        return (rail,)
    fitting = tuple(able.rail for able in capabilities.rails if able.carries(amount))
    return fitting or (max(capabilities.rails, key=lambda able: able.most_minor_units).rail,)
