"""The guide's own code, run as it stands there."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.signatures import new_secret, secret_bytes, signed
from tests.house.tree import ROOT

BODY = b'{"type": "transaction.completed"}'


@pytest.fixture(scope="module")
def verify() -> Callable[[str, dict[str, str], bytes], None]:
    """The example of docs/integrating.md."""
    page = (ROOT / "docs/integrating.md").read_text()
    (code,) = re.findall(r"<!-- example: verify -->\n```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    found: Callable[[str, dict[str, str], bytes], None] = names["verify"]
    return found


def test_our_messages_pass_while_a_secret_is_rotated_too(verify: Callable[..., None]) -> None:
    old, new = new_secret(), new_secret()
    headers = signed([secret_bytes(new), secret_bytes(old)], "evt_1", datetime.now(UTC), BODY)
    verify(old, headers, BODY)
    verify(new, headers, BODY)


def test_nobody_elses_pass(verify: Callable[..., None]) -> None:
    secret = new_secret()
    now = datetime.now(UTC)
    good = signed([secret_bytes(secret)], "evt_1", now, BODY)
    old = signed([secret_bytes(secret)], "evt_1", now - timedelta(minutes=6), BODY)
    for headers, body, key in (
        (good, BODY + b" ", secret),
        (good | {"webhook-id": "evt_2"}, BODY, secret),
        (good | {"webhook-timestamp": str(int(now.timestamp()) + 1)}, BODY, secret),
        (good, BODY, new_secret()),
        (old, BODY, secret),
    ):
        with pytest.raises(ValueError, match=r"not signed|too old"):
            verify(key, headers, body)
