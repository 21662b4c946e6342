"""Every runbook's performer, registered by importing their modules."""

from tests.operating import at_banks, in_the_ledger, returned
from tests.operating.performing import ALONE, PERFORMERS

PERFORMED = (at_banks, in_the_ledger, returned)

__all__ = ["ALONE", "PERFORMED", "PERFORMERS"]
