"""Load the roles' code while the servers boot, once for all roles: each would spend seconds on the same."""

import gc
import os
import traceback
from collections.abc import Callable, Iterable
from importlib import import_module

from infra.local.fork import has_one_thread


def preload(modules: Iterable[str], environment: dict[str, str], go_on: Callable[[], bool]) -> bool:
    """Import them, asking `go_on` in between. Returns whether copies of this process may run the roles."""
    if not has_one_thread():
        return False
    os.environ.update(environment)
    try:
        for module in ("cli", *modules):
            if not go_on():
                return False
            import_module(module)
    except Exception:  # noqa: BLE001  -- the role itself will fail with this, and say so in its own log
        traceback.print_exc()
        return False
    gc.freeze()  # So that the copies share its memory for as long as they can.
    return has_one_thread()
