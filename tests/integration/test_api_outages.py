"""The API while the servers behind it are away: it lives, says so, loses nothing, and comes back by itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib import import_module
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from infra.local.probes import free_ports
from infra.settings import Settings
from tests.rest.roles import running_roles
from tests.rest.stage import Caller, Stage, new_key, staged
from tests.stack.bank import running_bank
from tests.stack.servers import Servers, running_servers
from worker import build_transfer_worker

GRACE_SECONDS = 10


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of this module's own: other tests keep theirs while these are killed."""
    with running_servers(tmp_path_factory.mktemp("outage")) as own:
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


def kill(servers: Servers, name: str) -> None:
    """kill -9, and wait for the end: only then does `recover` see that there is something to do."""
    os.kill(servers.process(name).pid, signal.SIGKILL)
    servers.process(name).wait(GRACE_SECONDS)


def nowhere() -> Settings:
    """Settings that point at ports where nothing listens."""
    postgres, redis, temporal = free_ports(3)
    return Settings(
        shard_urls=(f"postgresql://sagapay_app@127.0.0.1:{postgres}/sagapay",),
        redis_url=f"redis://127.0.0.1:{redis}/0",
        temporal_address=f"127.0.0.1:{temporal}",
        bank_url="http://127.0.0.1:1",
        database_timeout_seconds=2,
    )


async def test_it_lives_while_nothing_else_does() -> None:
    app = create_app(nowhere(), build_transfer_worker)
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
    stopped: list[int] = []

    def stop(name: str) -> None:
        pid = servers.process(name).pid
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)

    yield stop
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


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
    os.kill(servers.process("valkey").pid, signal.SIGCONT)
    changed = await rest.app.post("/v1/transfers", body | {"amount": 101}, key)
    assert changed.status_code == 422
    assert await rest.posted(receiver) == 100


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
    os.kill(servers.process("temporal").pid, signal.SIGCONT)
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
    kill(servers, "postgres")
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
            kill(servers, "postgres")
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
