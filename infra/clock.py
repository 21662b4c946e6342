"""The clock that a process takes business time from: the machine's, or one that a simulation sets for all processes."""

from datetime import UTC, datetime
from pathlib import Path

from domain.clock import Clock, SystemClock
from domain.errors import SettingsInvalid
from infra.settings import Settings


class FileClock:
    """Business time is what a file said when it was written (ISO 8601 with a zone), and goes on from there."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at_ns = 0
        self._said = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """The business time in UTC. Raises SettingsInvalid if the file cannot be read."""
        try:
            written_ns = self._file.stat().st_mtime_ns
            if written_ns != self._read_at_ns:
                self._said, self._read_at_ns = datetime.fromisoformat(self._file.read_text().strip()), written_ns
            return self._said.astimezone(UTC) + (datetime.now(UTC) - datetime.fromtimestamp(written_ns / 1e9, UTC))
        except (OSError, ValueError) as error:
            raise SettingsInvalid(f"SAGAPAY_BUSINESS_CLOCK_FILE: {self._file} does not say a time: {error}") from None


def set_clock(file: Path, at: datetime) -> None:
    """From now on it is `at`, for everybody who follows this file: it is replaced as a whole."""
    written = file.with_suffix(".new")
    written.write_text(at.isoformat())
    written.replace(file)


def business_clock(settings: Settings) -> Clock:
    """The machine's clock, unless the settings name a file."""
    return FileClock(settings.business_clock_file) if settings.business_clock_file else SystemClock()
