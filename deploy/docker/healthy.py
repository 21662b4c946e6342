"""Is this container's role ready? `healthy.py URL` for one that speaks HTTP, `healthy.py NAME` for one that says so
in its ready file, which holds the process id. Exits 0 or 1.
"""

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT_SECONDS = 4


def answers(url: str) -> bool:
    """Whether a GET of it is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310  -- from docker-compose.yml
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def runs(role: str) -> bool:
    """Whether the process that called itself ready is still there."""
    try:
        pid = int((Path(os.environ["SAGAPAY_STATE_DIR"]) / "ready" / role).read_text())
    except (OSError, ValueError):
        return False
    return Path(f"/proc/{pid}").exists()


sys.exit(not (answers(sys.argv[1]) if "://" in sys.argv[1] else runs(sys.argv[1])))
