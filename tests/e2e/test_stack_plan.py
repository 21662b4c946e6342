"""What a start would run, decided from the settings alone; nothing is started here."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from domain.errors import SettingsInvalid
from infra.local.plan import make_plan
from infra.local.probes import free_ports
from infra.local.roles import Role, groups
from infra.local.settings import LocalSettings, load_local_settings
from infra.local.wakeup import Wakeup
from infra.settings import load_settings

REAL = {
    "shard_urls": "postgresql://app@db:5432/sagapay",
    "migration_urls": "postgresql://owner@db:5432/sagapay",
    "redis_url": "redis://cache:6379/0",
    "temporal_address": "temporal:7233",
    "kafka_bootstrap": "kafka:9092",
}


@pytest.fixture(autouse=True)
def _no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SHARD_URLS",
        "MIGRATION_URLS",
        "REDIS_URL",
        "TEMPORAL_ADDRESS",
        "KAFKA_BOOTSTRAP",
        "BANK_URL",
        "LEDGER_ADDRESS",
    ):
        monkeypatch.delenv(f"SAGAPAY_{name}", raising=False)


def _names(**named: str) -> set[str]:
    plan = make_plan(load_settings(**named), LocalSettings())
    return {service.name for service in plan.servers.services}


def test_without_settings_every_server_is_embedded() -> None:
    assert _names() == {"postgres", "valkey", "temporal", "kafka"}


@pytest.mark.parametrize(
    ("named", "missing"),
    [
        (("shard_urls", "migration_urls"), "postgres"),
        (("redis_url",), "valkey"),
        (("temporal_address",), "temporal"),
        (("kafka_bootstrap",), "kafka"),
    ],
)
def test_a_server_that_the_settings_name_is_not_embedded(named: tuple[str, ...], missing: str) -> None:
    assert _names(**{name: REAL[name] for name in named}) == {"postgres", "valkey", "temporal", "kafka"} - {missing}


def test_the_environment_of_roles_leaves_real_servers_alone() -> None:
    plan = make_plan(load_settings(**REAL), LocalSettings())
    assert not plan.servers.services
    assert not {"SAGAPAY_SHARD_URLS", "SAGAPAY_REDIS_URL", "SAGAPAY_TEMPORAL_ADDRESS"} & plan.environment.keys()


def test_half_a_database_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="SAGAPAY_MIGRATION_URLS"):
        make_plan(load_settings(shard_urls=REAL["shard_urls"]), LocalSettings())


def test_a_bank_that_runs_elsewhere_is_not_simulated() -> None:
    assert "bank" in {role.name for role in make_plan(load_settings(), LocalSettings()).roles}
    plan = make_plan(load_settings(bank_url="http://bank:80"), LocalSettings())
    assert "bank" not in {role.name for role in plan.roles}
    assert plan.environment["SAGAPAY_BANK_URL"] == "http://bank:80"


def test_the_ledger_gets_a_process_where_it_is_asked_for_and_none_runs_elsewhere() -> None:
    alone = make_plan(load_settings(), LocalSettings())
    assert "ledger" not in {role.name for role in alone.roles}
    assert "SAGAPAY_LEDGER_ADDRESS" not in alone.environment
    plan = make_plan(load_settings(ledger_host="0.0.0.0", ledger_port=8299), LocalSettings(ledger=True))
    assert [[role.name for role in group] for group in groups(plan.roles)] == [
        ["ledger"],
        [role.name for role in alone.roles],
    ]
    assert plan.environment["SAGAPAY_LEDGER_ADDRESS"] == "127.0.0.1:8299"
    elsewhere = make_plan(load_settings(ledger_address="ledger:8200"), LocalSettings(ledger=True))
    assert elsewhere.roles == alone.roles


def test_every_busy_port_is_named_with_its_setting() -> None:
    ports = free_ports(6)
    names = ("postgres_port", "redis_port", "temporal_port", "temporal_ui_port")
    local = load_local_settings(**dict(zip(names, ports, strict=False)))
    settings = load_settings(api_port=ports[4], bank_port=ports[5])
    plan = make_plan(settings, local)
    assert plan.busy_ports() == []
    with socket.socket() as other, socket.socket() as another:
        other.bind(("127.0.0.1", local.postgres_port))
        another.bind(("127.0.0.1", settings.api_port))
        problems = plan.busy_ports()
    assert len(problems) == 2
    assert str(local.postgres_port) in problems[0]
    assert "SAGAPAY_LOCAL_POSTGRES_PORT" in problems[0]
    assert "SAGAPAY_API_PORT" in problems[1]


def test_one_port_for_two_servers_is_named() -> None:
    port, *rest = free_ports(5)
    local = LocalSettings(postgres_port=port, redis_port=port, temporal_port=rest[0], temporal_ui_port=rest[1])
    plan = make_plan(load_settings(api_port=rest[2], bank_port=rest[3]), local)
    assert [("POSTGRES_PORT" in line, "REDIS_PORT" in line) for line in plan.busy_ports()] == [(True, True)]


def test_a_bad_local_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGAPAY_LOCAL_POSTGRES_PORT", "many")
    with pytest.raises(SettingsInvalid, match="SAGAPAY_LOCAL_POSTGRES_PORT"):
        load_local_settings()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
@pytest.mark.parametrize(("death", "watchdog"), [("auto", False), ("signal", False), ("watchdog", True)])
def test_the_way_children_end_with_their_supervisor_can_be_chosen(death: str, watchdog: bool) -> None:
    local = load_local_settings(death=death)
    assert make_plan(load_settings(), local, roles=(Role("one", ("true",)),)).uses_watchdog is watchdog


def test_sleep_ends_early_when_a_signal_arrives() -> None:
    with Wakeup() as wakeup:
        signal.raise_signal(signal.SIGTERM)
        begun = time.monotonic()
        wakeup.wait(5)
        assert time.monotonic() - begun < 1
        assert wakeup.stop_wanted


@pytest.mark.parametrize(
    ("go_on", "complains"),
    [("True", True), ("False", False)],
    ids=["broken code leaves roles to start by themselves", "loading stops when nobody wants it"],
)
def test_preloading_says_whether_roles_can_be_forked(go_on: str, complains: bool) -> None:
    program = (
        "import sys; from infra.local.preload import preload\n"
        f"sys.exit(preload(['infra.local.no_such_module'], {{}}, lambda: {go_on}))"
    )
    # In a process of its own: this one may have threads, with which nothing is preloaded.
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert ("no_such_module" in result.stderr) is complains
