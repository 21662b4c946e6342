"""Killed, not asked: processes of the stack, and the supervisor itself."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer
from temporalio.client import Client, WorkflowExecutionStatus

from infra.local.leftovers import processes_of
from tests.stack.platform import REPOSITORY, Platform, until
from tests.stack.standin import COMMAND

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A running platform with stand-in roles; each test leaves it whole."""
    own = Platform(tmp_path_factory.mktemp("killed"), COMMAND)
    own.up()
    yield own
    own.down()
    assert own.processes() == []


def test_a_killed_postgres_comes_back_with_what_was_committed(stack: Platform) -> None:
    url = stack.settings.migration_urls[0]
    with closing(psycopg.connect(url, autocommit=True)) as busy, closing(psycopg.connect(url)) as half:
        busy.execute("CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS number")
        half.execute("INSERT INTO numbers VALUES (0)")
        stack.kill("postgres")
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT pg_sleep(30)")
    stack.wait_restarted("postgres")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*), min(number) FROM numbers").fetchone() == (1000, 1)
    assert stack.state().processes["postgres"].restarts == 1


def test_a_killed_postgres_comes_back_beside_a_session_that_lingers(stack: Platform) -> None:
    url = stack.settings.migration_urls[0]
    with closing(psycopg.connect(url, autocommit=True)) as busy:
        # A backend that computes looks for its postmaster rarely, so it outlives it for a while.
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000)")
        time.sleep(0.3)
        stack.kill("postgres")
        stack.wait_restarted("postgres")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


async def test_a_killed_temporal_comes_back_with_its_open_workflows(stack: Platform) -> None:
    client = await Client.connect(stack.settings.temporal_address)
    await client.start_workflow("Waiting", id="waiting", task_queue="nobody")
    stack.kill("temporal")
    stack.wait_restarted("temporal")
    again = await Client.connect(stack.settings.temporal_address)
    assert (await again.get_workflow_handle("waiting").describe()).status is WorkflowExecutionStatus.RUNNING


def test_a_killed_cache_comes_back(stack: Platform) -> None:
    stack.kill("valkey")
    stack.wait_restarted("valkey")
    with redis.Redis.from_url(stack.settings.redis_url) as cache:
        assert cache.set("key", "value")
        assert cache.get("key") == b"value"


def test_a_killed_broker_comes_back_as_another_one(stack: Platform) -> None:
    before = json.loads((stack.home / "kafka.json").read_text())
    stack.kill("kafka")
    stack.wait_restarted("kafka")
    after = json.loads((stack.home / "kafka.json").read_text())
    assert after["broker_id"] != before["broker_id"]
    assert _round_trip(after["bootstrap"]) == b"hello"


def _round_trip(bootstrap: str) -> bytes | None:
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce("greetings", b"hello")
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "greeted", "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe(["greetings"])
        message = consumer.poll(15)
        return message.value() if message else None
    finally:
        consumer.close()


@pytest.mark.parametrize("role", ["api", "worker"])
def test_a_killed_role_is_started_again_and_again(stack: Platform, role: str) -> None:
    for _ in range(3):
        stack.kill(role)
        stack.wait_restarted(role)
    assert stack.state().processes[role].restarts == 3
    assert stack.state().phase == "ready"


@pytest.mark.parametrize("death", ["signal", "watchdog"])
def test_a_killed_supervisor_leaves_nothing_and_the_next_start_continues(tmp_path: Path, death: str) -> None:
    stack = Platform(tmp_path, COMMAND, SAGAPAY_LOCAL_DEATH=death)
    stack.up()
    url = stack.settings.migration_urls[0]
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    assert len(stack.processes()) > len(stack.state().processes)
    stack.kill("supervisor")
    until("nothing is left", lambda: stack.processes() == [], seconds=10)
    assert not stack.runs()
    stack.up()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    stack.down()
    assert stack.processes() == []


def test_a_supervisor_killed_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    stack = Platform(tmp_path, COMMAND)
    with stack.start("up") as supervisor:
        until("servers start", lambda: stack.runs() and len(stack.processes()) > 2)
        supervisor.kill()
        supervisor.communicate(timeout=10)
    until("nothing is left", lambda: stack.processes() == [], seconds=10)
    stack.up()
    stack.down()


def test_what_a_killed_supervisor_and_watchdog_left_is_ended_by_the_next_start(tmp_path: Path) -> None:
    stack = Platform(tmp_path, COMMAND, SAGAPAY_LOCAL_DEATH="watchdog")
    stack.up()
    watchdogs = [pid for pid in stack.processes() if b"watchdog.py" in _command_line(pid)]
    assert len(watchdogs) == 1
    os.kill(watchdogs[0], signal.SIGKILL)
    stack.kill("supervisor")
    time.sleep(1)
    left = stack.processes()
    assert left
    stack.up()
    assert not set(left) & set(stack.processes())
    stack.down()


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_the_servers_of_a_killed_test_run_end_with_it(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tests.stack.servers import running_servers\n"
        "with running_servers(Path(sys.argv[1])): print('ready', flush=True); time.sleep(600)"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=REPOSITORY) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"ready\n"
        assert len(list(processes_of(tmp_path))) > 4
        owner.kill()
    until("nothing is left", lambda: not any(processes_of(tmp_path)), seconds=10)
