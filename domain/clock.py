"""Business time: one clock port for banks, cut-offs, limits, expiry and statements. A test can set it."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where `effective_at` comes from. The database's own time stamps only `created_at`."""

    def now(self) -> datetime:
        """The business time, with a time zone."""
        ...


class SystemClock:
    """Business time is the machine's time."""

    def now(self) -> datetime:
        """The machine's time in UTC."""
        return datetime.now(UTC)


class SettableClock:
    """Business time is what somebody said last; it stands still in between."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """The time that was set."""
        return self._at

    def set(self, at: datetime) -> None:
        """Jump to `at`."""
        self._at = at

    def advance(self, by: timedelta) -> None:
        """Let `by` pass."""
        self._at += by
