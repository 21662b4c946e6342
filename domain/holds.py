"""Holds that apps ask for: money of a wallet reserved for payments that are yet to come, until it expires."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

DEFAULT_LIFE: Final = timedelta(days=7)
"""Of a hold whose app does not say when it expires: no money is set aside and forgotten."""
LONGEST_LIFE: Final = timedelta(days=366)


class HoldStatus(StrEnum):
    """Where a hold stands. Only an ACTIVE one holds money; a FAILED one never did, the others have ended, once.

    CAPTURED: all of it was, or the rest was released with the last capture. A RELEASED or EXPIRED hold may have been
    captured in part before.
    """

    ACTIVE = "active"
    CAPTURED = "captured"
    RELEASED = "released"
    EXPIRED = "expired"
    FAILED = "failed"
