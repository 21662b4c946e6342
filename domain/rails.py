"""Rails: the ways by which a bank moves money."""

from enum import StrEnum


class Rail(StrEnum):
    """A way of moving money. Instant answers in seconds and is final; ACH goes in batches and may come back."""

    INSTANT = "instant"
    ACH = "ach"


class RailChoice(StrEnum):
    """What a client asks for: a rail, or whichever fits the payment."""

    AUTO = "auto"
    INSTANT = "instant"
    ACH = "ach"
