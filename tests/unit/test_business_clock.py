"""Business time: the machine's, or what a file says that all processes follow."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.errors import SettingsInvalid
from infra.clock import business_clock, set_clock
from infra.settings import Settings

MONDAY = datetime(2027, 3, 1, 14, 30, tzinfo=UTC)
A_MOMENT = timedelta(minutes=1)


def test_it_is_the_machines_unless_the_settings_name_a_file() -> None:
    assert abs(business_clock(Settings()).now() - datetime.now(UTC)) < A_MOMENT


def test_it_goes_on_from_what_the_file_said_and_jumps_when_it_is_written_again(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    set_clock(file, MONDAY)
    clock = business_clock(Settings(business_clock_file=file))
    first = clock.now()
    assert MONDAY <= first < MONDAY + A_MOMENT
    assert clock.now() > first
    set_clock(file, MONDAY + timedelta(days=60))
    assert MONDAY + timedelta(days=60) <= clock.now() < MONDAY + timedelta(days=60) + A_MOMENT


@pytest.mark.parametrize("said", [None, "", "yesterday"])
def test_a_file_that_says_no_time_is_named(tmp_path: Path, said: str | None) -> None:
    file = tmp_path / "clock"
    if said is not None:
        file.write_text(said)
    with pytest.raises(SettingsInvalid, match="SAGAPAY_BUSINESS_CLOCK_FILE"):
        business_clock(Settings(business_clock_file=file)).now()
