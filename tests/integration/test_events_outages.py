"""Whoever dies between the outbox and an effect: nothing is lost, and no effect happens twice."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from domain.events import LANES
from infra.local.probes import free_ports, names_pid
from tests.events.outbox_rows import Row, transaction_event
from tests.events.stage import Recorder, Stage, eventually, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers

pytestmark = pytest.mark.slow

RELAY = ("-m", "cli", "relay")


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    with databases.copy() as database, staged([database], bare_servers.settings, tmp_path) as made:
        yield made


def some(count: int = 50) -> list[Row]:
    return [transaction_event() for _ in range(count)]


async def test_a_replaced_broker_is_given_again_what_is_not_confirmed(stage: Stage) -> None:
    broker = stage.start_broker()
    async with stage.relay(), stage.consumer(Recorder()):
        stage.tell(*some())
        await stage.until_all_applied()
        stage.tell(*some())
        os.kill(broker.pid, signal.SIGKILL)
        stage.tell(*some())
        await asyncio.sleep(1)
        stage.start_broker()
        stage.tell(*some())
        await stage.until_all_applied()


async def test_what_only_the_old_broker_had_arrives_from_the_new_one(stage: Stage) -> None:
    """Published and never read by anybody: the relay's own position says it is done, the consumers' say it is not."""
    broker = stage.start_broker()
    async with stage.consumer(Recorder()):
        pass
    async with stage.relay():
        stage.tell(*some())
        await eventually(lambda: stage.published() == 50, "everything to be published")
        os.kill(broker.pid, signal.SIGKILL)
        stage.start_broker()
        async with stage.consumer(Recorder()):
            await stage.until_all_applied()


async def test_of_two_relays_one_works_and_the_other_takes_over_when_it_is_killed(stage: Stage) -> None:
    stage.start_broker()
    async with stage.consumer(Recorder()):
        first = stage.start_role(*RELAY)
        stage.tell(*some())
        await stage.until_all_applied()
        working = _lane_holders(stage)
        second = stage.start_role(*RELAY)
        ready = stage.home / "ready/relay"
        await eventually(lambda: names_pid(ready, second.pid), "the second relay to stand by")
        stage.tell(*some())
        await stage.until_all_applied()
        assert _lane_holders(stage) == working
        assert len(working) == 1
        os.kill(first.pid, signal.SIGKILL)
        stage.tell(*some())
        await stage.until_all_applied()
        assert len(_lane_holders(stage)) == 1
        assert _lane_holders(stage) != working
        assert second.code is None


@pytest.mark.slow
async def test_a_relay_killed_again_and_again_loses_nothing(stage: Stage) -> None:
    stage.start_broker()
    async with stage.consumer(Recorder()):
        for _ in range(3):
            relay = stage.start_role(*RELAY)
            before = sum(map(len, stage.effects().values()))
            for _ in range(10):
                stage.tell(*some(40))
            await eventually(
                lambda before=before: sum(map(len, stage.effects().values())) > before, "the relay to be at work"
            )
            os.kill(relay.pid, signal.SIGKILL)
        stage.start_role(*RELAY)
        await stage.until_all_applied()


async def test_a_consumer_killed_between_effect_and_offset_has_each_effect_once(stage: Stage) -> None:
    stage.start_broker()
    async with stage.relay():
        stage.tell(*some())
        victim = stage.start_role("-m", "tests.events")
        await eventually(lambda: victim.code is not None, "the consumer to die")
        assert victim.code == -signal.SIGKILL
        assert stage.effects(), "it died after its effects"
        stage.tell(*some())
        async with stage.consumer(Recorder()):
            await stage.until_all_applied()


async def test_two_processes_of_one_consumer_share_the_lanes_and_repeat_nothing(stage: Stage) -> None:
    stage.start_broker()
    async with stage.relay(), stage.consumer(Recorder()):
        stage.tell(*some())
        await stage.until_all_applied()
        async with stage.consumer(Recorder()):
            for _ in range(30):
                stage.tell(*some(10))
                await asyncio.sleep(0.2)
            await stage.until_all_applied()
        stage.tell(*some())
        await stage.until_all_applied()


async def test_without_a_broker_events_wait_and_the_lag_grows(stage: Stage) -> None:
    stage.tell(*some())
    (port,) = free_ports(1)
    relay = stage.start_role(*RELAY, metrics_port=port)
    lag: list[float] = []

    def noted() -> bool:
        lines = [line for line in _metrics(port).splitlines() if line.startswith("sagapay_relay_lag_seconds{")]
        lag.extend(seconds for line in lines if (seconds := float(line.split()[1])) > 0)
        return len(lag) > 3 and lag[-1] > lag[0] + 1

    await eventually(noted, "the lag to grow")
    assert relay.code is None
    stage.start_broker()
    async with stage.consumer(Recorder()):
        await stage.until_all_applied()


async def test_while_the_database_refuses_everybody_nothing_is_lost(stage: Stage) -> None:
    stage.start_broker()
    name = stage.database.name
    with psycopg.connect(f"postgresql://postgres@{stage.database.place}/postgres", autocommit=True) as admin:
        async with stage.relay(), stage.consumer(Recorder()):
            stage.tell(*some())
            await stage.until_all_applied()
            stage.tell(*some())
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'".encode())
            await asyncio.sleep(1.5)
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
            stage.tell(*some())
            await stage.until_all_applied()


async def test_killing_the_database_loses_no_event_and_repeats_no_effect(stage: Stage, bare_servers: Servers) -> None:
    stage.start_broker()
    async with stage.relay(), stage.consumer(Recorder()):
        for _ in range(20):
            stage.tell(*some())
            await asyncio.sleep(0.02)
        bare_servers.process("postgres").kill()
        bare_servers.recover()
        stage.tell(*some())
        await stage.until_all_applied()


async def test_the_roles_say_when_they_are_ready_and_end_in_order(stage: Stage) -> None:
    stage.start_broker()
    roles = {name: stage.start_role("-m", "cli", name) for name in ("relay", "consumers")}
    for name, child in roles.items():
        await eventually(lambda n=name, c=child: names_pid(stage.home / "ready" / n, c.pid), f"{name} to be ready")
    for name, child in roles.items():
        child.ask_to_stop()
        await eventually(lambda c=child: c.code is not None, f"{name} to end", seconds=15)
        assert child.code == 0
        assert not (stage.home / "ready" / name).exists()


def _metrics(port: int) -> str:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics").text
    except httpx.TransportError:
        return ""


def _lane_holders(stage: Stage) -> set[object]:
    """The database sessions that hold lanes; together they hold all."""
    rows = stage.ask("""
        SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 7242003
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""")
    assert len(rows) == LANES
    return {pid for (pid,) in rows}
