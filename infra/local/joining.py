"""Commands join the platform that runs in their state directory, whose ports may be others than the defaults."""

import os

from infra.local.state import holder, read_state
from infra.settings import Settings, load_settings


def joined_settings() -> Settings:
    """Settings that point at the stack that runs here, without one those of the environment. Raises SettingsInvalid.

    A variable that is set goes first: whoever names a server means it.
    """
    home = load_settings().state_dir.resolve()
    state = read_state(home)
    if state is not None and holder(home) == state.supervisor_pid:
        for name, value in state.environment.items():
            os.environ.setdefault(name, value)
    return load_settings()
