"""The API while the servers behind it are away: it lives, says so, loses nothing, and comes back by itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from api.app import create_app
from infra.local.probes import free_ports
from infra.secrets import KEYS_FILE, add_key
from infra.settings import Settings
from tests.integration.test_api_express import another_api
from tests.rest.roles import running_roles
from tests.rest.stage import Caller, Stage, new_key, staged
from tests.stack.bank import running_bank
from tests.stack.containers import Choice
from tests.stack.servers import Process, Servers, running_servers
from worker import build_transfer_worker


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, containers: Choice | None) -> Iterator[Servers]:
    """Servers of this module's own: other tests keep theirs while these are killed."""
    with running_servers(tmp_path_factory.mktemp("outage"), containers=containers) as own:
        import_module("migrations").upgrade_all(own.settings.migration_urls)
        yield own


@pytest.fixture(scope="module")
async def rest(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The API with its workers and a bank on these servers."""
    settings = servers.settings.model_copy(update={"settlement_poll_seconds": 0.2, "accept_timeout_seconds": 20.0})
    home = tmp_path_factory.mktemp("outage-bank")
    with running_bank(home, settings.bank_port) as bank:
        async with staged(settings, bank) as stage:
            yield stage


def nowhere(home: Path) -> Settings:
    """Settings that point at ports where nothing listens; the keys are there."""
    add_key(home / KEYS_FILE)
    postgres, redis, temporal = free_ports(3)
    return Settings(
        shard_urls=(f"postgresql://sagapay_app@127.0.0.1:{postgres}/sagapay",),
        redis_url=f"redis://127.0.0.1:{redis}/0",
        temporal_address=f"127.0.0.1:{temporal}",
        bank_url="http://127.0.0.1:1",
        database_timeout_seconds=2,
        encryption_keys_file=home / KEYS_FILE,
    )


async def test_it_lives_while_nothing_else_does(tmp_path: Path) -> None:
    app = create_app(nowhere(tmp_path), build_transfer_worker)
    async with app.router.lifespan_context(app):
        caller = Caller(app, "sk_whatever")
        assert (await caller.get("/livez")).status_code == 200
        assert (await caller.get("/metrics")).status_code == 200
        ready = await caller.get("/readyz")
        assert ready.status_code == 503
        assert ready.headers["Retry-After"] == "1"
        assert {name: check["status"] for name, check in ready.json()["checks"].items()} == {
            "ledger": "down",
            "temporal": "down",
            "redis": "down",
            "bank:simulator": "down",
            "transfer_worker": "down",
        }
        payment = await caller.post("/v1/transfers", {})
        assert (payment.status_code, payment.json()["code"]) == (503, "ledger_unavailable")
        await caller.http.aclose()


@pytest.fixture
async def paused(servers: Servers) -> AsyncIterator[Callable[[str], None]]:
    """Stops a server in its tracks: connections stay, answers do not come. All go on after the test."""
    stopped: list[Process] = []

    def stop(name: str) -> None:
        stopped.append(servers.process(name))
        stopped[-1].pause()

    yield stop
    for process in stopped:
        process.resume()


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Wait until it holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await check():
        assert asyncio.get_running_loop().time() < deadline, "it did not come back"
        await asyncio.sleep(0.1)


async def test_without_redis_it_is_slower_never_wrong(
    rest: Stage, paused: Callable[[str], None], servers: Servers
) -> None:
    sender, receiver, key = await rest.funded(5_000), await rest.person(), new_key()
    body = rest.transfer_body(sender, receiver)
    paused("valkey")
    answers = [await rest.app.post("/v1/transfers", body, key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.json()["transaction_id"] for answer in answers}) == 1
    eventual = await rest.app.get(f"/v1/wallets/{sender.wallet_id}", consistency="eventual")
    assert eventual.json()["balance"]["posted"] == 4_900
    ready = await rest.app.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    servers.process("valkey").resume()
    changed = await rest.app.post("/v1/transfers", body | {"amount": 101}, key)
    assert changed.status_code == 422
    assert await rest.posted(receiver) == 100


@asynccontextmanager
async def troubled(servers: Servers, redis: Redis, trouble: str) -> AsyncIterator[None]:
    """Redis is in trouble from a moment after the beginning; it is well again afterwards."""
    over, valkey = asyncio.Event(), servers.process("valkey")

    async def begin() -> None:
        await asyncio.sleep(0.02)
        match trouble:
            case "flushed":
                while not over.is_set():
                    await redis.flushdb()
                    await asyncio.sleep(0.002)
            case "full":
                await redis.config_set("maxmemory", 1)
            case "paused":
                await asyncio.to_thread(valkey.pause)
            case "stuttering":
                while not over.is_set():
                    await asyncio.to_thread(valkey.pause)
                    await asyncio.sleep(0.15)
                    await asyncio.to_thread(valkey.resume)
                    await asyncio.sleep(0.05)
            case "killed":
                await asyncio.to_thread(valkey.kill)

    troubling = asyncio.create_task(begin())
    try:
        yield
    finally:
        over.set()
        await troubling
        valkey.resume()
        servers.recover()
        await redis.connection_pool.disconnect()
        await redis.config_set("maxmemory", 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "lock"),
    [(trouble, False) for trouble in ("flushed", "full", "paused", "stuttering", "killed")]
    + [(trouble, True) for trouble in ("flushed", "killed")],
)
async def test_with_redis_in_trouble_in_the_middle_of_a_race(
    rest: Stage, servers: Servers, trouble: str, lock: bool
) -> None:
    sender, receiver = await rest.funded(2_050), await rest.person()
    raced, keys = new_key(), [new_key() for _ in range(25)]
    body, path = rest.transfer_body(sender, receiver, 100), f"/v1/wallets/{sender.wallet_id}"
    changed = {"sender_lock": lock, "sender_lock_wait_seconds": 60.0}
    async with another_api(rest, transfer_lane="workflow", **changed) as app:
        async with troubled(servers, rest.redis, trouble):
            told = await asyncio.gather(
                *(app.post("/v1/transfers", body, raced) for _ in range(15)),
                *(app.post("/v1/transfers", body, key) for key in keys[:-1] for _ in range(2)),
                *(app.get(path, consistency="eventual") for _ in range(10)),
            )
            race, pairs, balances = told[:15], list(zip(told[15:63:2], told[16:63:2], strict=True)), told[63:]
            assert {answer.status_code for answer in told[:63]} == {202}
            assert {answer.status_code for answer in balances} == {200}
            late = await app.post("/v1/transfers", body | {"amount": 99}, raced)
            assert late.json()["code"] == "idempotency_key_reused"
            hopeless = await app.post("/v1/transfers", body, keys[-1])
            assert hopeless.json()["status"] == "failed"
        again = [await app.post("/v1/transfers", body, key) for key in (raced, *keys)]
    assert len({answer.json()["transaction_id"] for answer in race}) == 1
    assert all(one.json() == other.json() for one, other in pairs)
    assert [answer.json() for answer in again] == [race[0].json(), *(one.json() for one, _ in pairs), hopeless.json()]
    outcomes = [answer.json()["status"] for answer in again]
    assert (outcomes.count("succeeded"), outcomes.count("failed")) == (20, 6)
    assert (await rest.posted(sender), await rest.posted(receiver)) == (50, 2_000)
    assert len(await rest.entries(receiver)) == 20


async def test_while_temporal_is_away_nothing_is_promised_and_nothing_is_done_twice(
    rest: Stage, paused: Callable[[str], None], servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver, key = await rest.funded(5_000), await rest.person(), new_key()
    recorded = await rest.app.post("/v1/transfers", rest.transfer_body(sender, receiver, 7), known := new_key())
    await rest.redis.flushdb()
    monkeypatch.setattr(rest.backends.acceptance, "_timeout_seconds", 1.5)
    paused("temporal")
    body = rest.transfer_body(sender, receiver)
    promised = await rest.app.post("/v1/transfers", body, key)
    assert promised.status_code == 503, promised.text
    assert "transaction_id" not in promised.text
    assert promised.headers["Retry-After"] == "1"
    replay = await rest.app.post("/v1/transfers", rest.transfer_body(sender, receiver, 7), known)
    assert (replay.status_code, replay.json()) == (202, recorded.json())
    assert (await rest.app.get("/readyz")).status_code == 503
    servers.process("temporal").resume()
    monkeypatch.undo()

    async def accepted() -> bool:
        return (await rest.app.post("/v1/transfers", body, key)).status_code == 202

    await eventually(accepted)
    assert (await rest.posted(sender), len(await rest.entries(receiver))) == (4_893, 2)


async def test_while_the_ledger_is_away_nothing_is_promised(
    rest: Stage, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver, key = await rest.funded(5_000), await rest.person(), new_key()
    body = rest.transfer_body(sender, receiver)
    monkeypatch.setattr(rest.backends.acceptance, "_timeout_seconds", 2.0)
    servers.process("postgres").kill()
    promised = await rest.app.post("/v1/transfers", body, key)
    servers.recover()
    assert promised.status_code in (202, 503), promised.text
    if promised.status_code == 503:
        assert promised.json()["code"] in ("ledger_unavailable", "not_recorded_yet")
    monkeypatch.undo()

    async def accepted() -> bool:
        return (await rest.app.post("/v1/transfers", body, key)).status_code == 202

    await eventually(accepted)
    assert (await rest.posted(sender), len(await rest.entries(receiver))) == (4_900, 1)


async def test_the_process_ends_although_the_ledger_is_away(rest: Stage, servers: Servers, tmp_path: Path) -> None:
    sender, receiver, key = await rest.funded(5_000), await rest.person(), new_key()
    headers = {"Authorization": f"Bearer {rest.app_key}", "Idempotency-Key": key}
    body = rest.transfer_body(sender, receiver)
    with running_roles(servers, tmp_path, "api", SAGAPAY_ACCEPT_TIMEOUT_SECONDS="1") as roles:
        async with httpx.AsyncClient(base_url=roles.url, headers=headers, timeout=30) as http:
            assert (await http.get(f"/v1/wallets/{sender.wallet_id}")).status_code == 200
            servers.process("postgres").kill()
            assert (await http.post("/v1/transfers", json=body)).status_code == 503
        process = roles.processes["api"]
        os.kill(process.pid, signal.SIGTERM)
        ended = await asyncio.to_thread(process.wait, 20.0)
        servers.recover()
    assert ended is not None, "the process hangs"

    async def accepted() -> bool:
        return (await rest.app.post("/v1/transfers", body, key)).status_code == 202

    await eventually(accepted, 60)
    assert (await rest.posted(receiver), len(await rest.entries(receiver))) == (100, 1)
