"""Commands find the stack that runs, wherever its ports are."""

import os
from pathlib import Path

import pytest

from infra.local.joining import joined_settings
from infra.local.state import StackState, exclusive
from infra.settings import load_settings

FOUND = {"SAGAPAY_SHARD_URLS": "postgresql://sagapay_app@127.0.0.1:29999/sagapay", "SAGAPAY_API_PORT": "29998"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory with a stack.json of this process."""
    for name in FOUND:
        monkeypatch.setenv(name, "")  # So that what the test leaves there is taken away again.
        monkeypatch.delenv(name)
    monkeypatch.setenv("SAGAPAY_STATE_DIR", str(tmp_path))
    StackState(supervisor_pid=os.getpid(), phase="ready", environment=FOUND).write(tmp_path)
    return tmp_path


def test_what_is_not_set_comes_from_the_running_stack(home: Path) -> None:
    with exclusive(home):
        joined = joined_settings()
    assert joined.shard_urls == (FOUND["SAGAPAY_SHARD_URLS"],)
    assert joined.api_port == 29998


def test_what_is_set_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGAPAY_API_PORT", "8001")
    with exclusive(home):
        joined = joined_settings()
    assert joined.api_port == 8001
    assert joined.shard_urls == (FOUND["SAGAPAY_SHARD_URLS"],)


@pytest.mark.usefixtures("home")
def test_a_stack_that_has_ended_is_not_joined() -> None:
    assert joined_settings() == load_settings()
    assert joined_settings().api_port != 29998
