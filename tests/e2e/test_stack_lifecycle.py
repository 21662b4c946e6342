"""Starting and stopping, with the real servers and tiny stand-in roles: the subject is the supervisor."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.stack.platform import Platform, until
from tests.stack.standin import COMMAND

pytestmark = pytest.mark.slow


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Platform]:
    """A platform with stand-in roles that is not started yet."""
    own = Platform(tmp_path / "state", COMMAND)
    yield own
    own.run("down")
    own.untie()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with stand-in roles that runs; tests leave it so."""
    own = Platform(tmp_path_factory.mktemp("running"), COMMAND)
    own.up()
    yield own
    own.down()


def test_up_returns_when_all_is_ready_and_down_leaves_nothing(stack: Platform) -> None:
    said = stack.up()
    assert stack.state().phase == "ready"
    assert {process.status for process in stack.state().processes.values()} == {"ready"}
    for shown in (f"{stack.api_url}/docs", stack.settings.temporal_ui_url, str(stack.home / "logs")):
        assert shown in said
    assert {process.pid for process in stack.state().processes.values()} <= set(stack.processes())
    stack.down()
    assert stack.processes() == []
    assert stack.state().phase == "stopped"


def test_a_second_start_says_that_one_runs_and_starts_nothing(running: Platform) -> None:
    before = {process.pid for process in running.state().processes.values()}
    for words in (("up", "--detach"), ("up",)):
        again = running.run(*words)
        assert again.returncode == 0
        assert "already runs" in again.stdout
        assert running.api_url in again.stdout
    assert {process.pid for process in running.state().processes.values()} == before


def test_a_busy_port_is_named_before_anything_starts(stack: Platform) -> None:
    port = stack.ports["SAGAPAY_LOCAL_TEMPORAL_PORT"]
    with socket.create_server(("127.0.0.1", port)):
        result = stack.run("up", "--detach")
    assert result.returncode == 1
    assert f"port {port}" in result.stdout
    assert "SAGAPAY_LOCAL_TEMPORAL_PORT" in result.stdout
    assert not (stack.home / "data").exists()


def test_a_role_that_does_not_start_is_named_with_the_end_of_its_log(stack: Platform) -> None:
    stack.home.mkdir()
    (stack.home / "worker.broken").touch()
    result = stack.run("up", "--detach")
    assert result.returncode == 1
    assert "worker" in result.stdout
    assert "worker is broken on purpose" in result.stdout
    assert stack.processes() == []
    (stack.home / "worker.broken").unlink()
    stack.up()


def test_a_failed_preparation_stops_the_start(stack: Platform) -> None:
    stack.home.mkdir()
    (stack.home / "prepare.broken").touch()
    result = stack.run("up", "--detach")
    assert result.returncode == 1
    assert "prepare" in result.stdout
    assert stack.processes() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_foreground_platform(stack: Platform, number: signal.Signals) -> None:
    with stack.start("up") as supervisor:
        until("it is ready", lambda: stack.runs() and stack.state().phase == "ready")
        supervisor.send_signal(number)
        said, _ = supervisor.communicate(timeout=30)
    assert supervisor.returncode == 0, said
    assert stack.api_url in said
    assert stack.processes() == []


def test_a_signal_stops_a_start_that_is_under_way(stack: Platform) -> None:
    with stack.start("up") as supervisor:
        until("servers start", lambda: stack.runs() and bool(stack.processes()))
        supervisor.send_signal(signal.SIGINT)
        said, _ = supervisor.communicate(timeout=30)
    assert supervisor.returncode == 0, said
    assert stack.processes() == []


def test_ctrl_c_at_a_start_in_the_background_takes_it_back(stack: Platform) -> None:
    with stack.start("up", "--detach") as command:
        until("servers start", lambda: stack.runs() and bool(stack.processes()))
        command.send_signal(signal.SIGINT)
        said, _ = command.communicate(timeout=30)
    assert command.returncode == 130, said
    assert not stack.runs()
    assert stack.processes() == []


def test_a_role_that_does_not_listen_is_killed_after_its_grace(tmp_path: Path) -> None:
    stack = Platform(tmp_path, COMMAND, SAGAPAY_LOCAL_STOP_GRACE_SECONDS="1")
    (tmp_path / "worker.deaf").touch()
    stack.up()
    begun = time.monotonic()
    stack.down()
    assert time.monotonic() - begun < 15
    assert stack.processes() == []


def test_down_without_a_platform_says_so(stack: Platform) -> None:
    assert "nothing runs" in stack.run("down").stdout
    assert not stack.home.exists()


def test_data_is_there_at_the_next_start_until_it_is_erased(stack: Platform) -> None:
    stack.up()
    with psycopg.connect(stack.settings.migration_urls[0]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    stack.down()
    stack.up()
    with psycopg.connect(stack.settings.migration_urls[0]) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    (stack.home / "mine.txt").write_text("not the stack's")
    stack.down("--erase")
    assert not (stack.home / "data").exists()
    assert (stack.home / "mine.txt").exists()
    stack.up()
    with (
        psycopg.connect(stack.settings.migration_urls[0]) as connection,
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        connection.execute("SELECT number FROM kept")


def test_the_applications_role_can_make_no_table(running: Platform) -> None:
    with (
        psycopg.connect(running.settings.shard_urls[0]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("CREATE TABLE mine ()")
