"""The real platform under its supervisor: every role and server killed, the supervisor too."""

import httpx
import pytest

from infra.local.roles import ROLES
from tests.stack.platform import Platform, until

pytestmark = pytest.mark.slow

SERVERS = ("postgres", "valkey", "temporal", "kafka")


def _is_ready(platform: Platform) -> bool:
    try:
        return httpx.get(f"{platform.api_url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_it_runs_every_role_and_says_where_everything_is(platform: Platform) -> None:
    assert platform.state().processes.keys() == {*SERVERS, *(role.name for role in ROLES)}
    again = platform.run("up", "--detach")
    assert again.returncode == 0
    for shown in (platform.api_url, platform.settings.temporal_ui_url, platform.bank_url, platform.app_key):
        assert shown in again.stdout
    assert httpx.get(platform.settings.temporal_ui_url, timeout=10, follow_redirects=True).status_code == 200
    assert httpx.get(f"{platform.api_url}/docs", timeout=10).status_code == 200


def test_its_development_key_is_accepted(platform: Platform) -> None:
    unknown = f"{platform.api_url}/v1/wallets/wal_{'0' * 32}"
    with_key = httpx.get(unknown, headers={"Authorization": f"Bearer {platform.app_key}"}, timeout=10)
    assert (with_key.status_code, httpx.get(unknown, timeout=10).status_code) == (404, 401)


@pytest.mark.parametrize("name", [*SERVERS, *(role.name for role in ROLES)])
def test_whatever_is_killed_comes_back(platform: Platform, name: str) -> None:
    platform.kill(name)
    platform.wait_restarted(name, seconds=90)
    until("the API is ready again", lambda: _is_ready(platform), seconds=60)


def test_a_killed_supervisor_leaves_nothing_and_the_next_start_is_whole(platform: Platform) -> None:
    before = set(platform.processes())
    assert before >= {process.pid for process in platform.state().processes.values()}
    platform.kill("supervisor")
    until("nothing is left", lambda: platform.processes() == [], seconds=15)
    key = platform.app_key
    platform.up()
    assert _is_ready(platform)
    assert platform.app_key == key
