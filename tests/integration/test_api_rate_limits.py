"""Rate limits: per client, per wallet, for all processes; without Redis each process counts alone, and nobody waits."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from api.app import create_app
from domain.ids import ClientId
from infra.local.probes import free_ports
from ledger.directory import Scope
from tests.rest.stage import Caller, Stage, new_key

DAY = 24 * 3600
Open = Callable[..., Awaitable[Caller]]


@pytest.fixture(autouse=True)
async def away_from_midnight() -> None:
    """Windows of a day end then, in the middle of a test."""
    left = DAY - time.time() % DAY
    if left < 30:
        await asyncio.sleep(left)


@asynccontextmanager
async def opened(rest: Stage, api_key: str, **overrides: object) -> AsyncIterator[Caller]:
    """A caller of an API of its own, with these settings."""
    own = {"api_hosts_worker": False, "rate_limit_client": None, "rate_limit_wallet": None, **overrides}
    app = create_app(rest.settings.model_copy(update=own))
    async with app.router.lifespan_context(app):
        caller = Caller(app, api_key)
        yield caller
        await caller.http.aclose()


async def new_client(rest: Stage, scope: Scope = Scope.APP) -> tuple[ClientId, str]:
    """A client that nobody has counted, and its key."""
    client_id = await rest.backends.directory.create_client("hasty")
    return client_id, await rest.backends.directory.create_key(client_id, scope, "hasty")


async def statuses(caller: Caller, times: int) -> list[int]:
    return [(await caller.get("/v1/webhook-endpoints")).status_code for _ in range(times)]


async def test_a_client_is_told_how_much_is_left_and_refused_when_nothing_is(rest: Stage) -> None:
    _, key = await new_client(rest)
    async with opened(rest, key, rate_limit_client="3/day") as caller:
        for left in (2, 1, 0):
            answer = await caller.get("/v1/webhook-endpoints")
            assert answer.status_code == 200
            assert answer.headers["RateLimit-Policy"] == '"client";q=3;w=86400'
            name, remaining, resets = answer.headers["RateLimit"].split(";")
            assert (name, remaining) == ('"client"', f"r={left}")
            assert 0 < int(resets.removeprefix("t=")) <= DAY
        refused = await caller.get("/v1/webhook-endpoints")
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert refused.headers["RateLimit"].startswith('"client";r=0;t=')
        assert 0 < int(refused.headers["Retry-After"]) <= DAY
        assert refused.headers["Content-Type"] == "application/problem+json"


async def test_another_client_and_what_needs_no_key_are_not_concerned(rest: Stage) -> None:
    _, key = await new_client(rest)
    _, other = await new_client(rest)
    async with opened(rest, key, rate_limit_client="1/day") as caller:
        assert await statuses(caller, 3) == [200, 429, 429]
        theirs = await caller.http.get("/v1/webhook-endpoints", headers={"Authorization": f"Bearer {other}"})
        assert theirs.status_code == 200
        assert (await caller.get("/livez")).status_code == 200
        nobody = await caller.http.get("/v1/webhook-endpoints", headers={"Authorization": "Bearer sk_no"})
        assert (nobody.status_code, "RateLimit" in nobody.headers) == (401, False)


async def test_operators_are_counted_too(rest: Stage) -> None:
    _, key = await new_client(rest, Scope.OPERATOR)
    async with opened(rest, key, rate_limit_client="1/day") as caller:
        assert [(await caller.get("/v1/write-offs")).status_code for _ in range(2)] == [200, 429]


async def test_all_processes_count_together(rest: Stage) -> None:
    _, key = await new_client(rest)
    async with (
        opened(rest, key, rate_limit_client="4/day") as one,
        opened(rest, key, rate_limit_client="4/day") as two,
    ):
        assert await statuses(one, 2) + await statuses(two, 3) == [200] * 4 + [429]
        assert await statuses(one, 1) == [429]


async def test_a_crowd_at_once_gets_exactly_what_is_left(rest: Stage) -> None:
    _, key = await new_client(rest)
    async with (
        opened(rest, key, rate_limit_client="12/day") as one,
        opened(rest, key, rate_limit_client="12/day") as two,
    ):
        answers = await asyncio.gather(*(caller.get("/v1/webhook-endpoints") for caller in (one, two) * 15))
        assert sorted(answer.status_code for answer in answers) == [200] * 12 + [429] * 18
        left = [answer.headers["RateLimit"].split(";")[1] for answer in answers if answer.status_code == 200]
        assert sorted(left) == sorted(f"r={number}" for number in range(12)), "each has been counted by itself"


async def test_a_wallet_is_refused_before_anything_is_written(rest: Stage) -> None:
    person, other = await rest.funded(1000), await rest.person()
    async with opened(rest, rest.app_key, rate_limit_wallet="2/day", transfer_lane="express") as caller:
        body = rest.transfer_body(person, other, 10)
        keys = [new_key() for _ in range(4)]
        made = [await caller.post("/v1/transfers", body, key) for key in keys[:2]]
        assert [answer.json()["status"] for answer in made] == ["succeeded"] * 2
        refused = await caller.post("/v1/transfers", body, keys[2])
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert "this wallet" in refused.json()["detail"]
        held = {"wallet_id": person.wallet_id, "amount": 10, "currency": "USD"}
        assert (await caller.post("/v1/holds", held, keys[3])).status_code == 429
        back = rest.transfer_body(other, person, 5)
        assert (await caller.post("/v1/transfers", back)).status_code == 202, "the other wallet has its own"
        assert (await caller.get(f"/v1/wallets/{person.wallet_id}")).status_code == 200
    # The keys are unused: where the limit is another, they pay.
    assert await rest.posted(person) == 1000 - 20 + 5
    again = await rest.app.post("/v1/transfers", body, keys[2])
    assert (again.status_code, "Idempotent-Replayed" in again.headers) == (202, False)


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Takes connections and never says anything, like a Redis that is stopped."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


@pytest.mark.parametrize("trouble", ["gone", "silent"])
async def test_without_redis_each_process_counts_alone_and_nobody_waits(rest: Stage, trouble: str) -> None:
    _, key = await new_client(rest)
    async with AsyncExitStack() as stack:
        url = (
            f"redis://127.0.0.1:{free_ports(1)[0]}/0"
            if trouble == "gone"
            else await stack.enter_async_context(silent_server())
        )
        strict = {"rate_limit_client": "5/day", "redis_url": url}
        one = await stack.enter_async_context(opened(rest, key, **strict))
        two = await stack.enter_async_context(opened(rest, key, **strict))
        assert await statuses(one, 6) == [200] * 5 + [429]
        assert await statuses(two, 6) == [200] * 5 + [429]
        metrics = (await one.get("/metrics")).text
        assert 'sagapay_cache_errors_total{operation="count"}' in metrics


async def test_without_limits_nothing_is_said(rest: Stage) -> None:
    _, key = await new_client(rest)
    async with opened(rest, key) as caller:
        answer = await caller.get("/v1/webhook-endpoints")
        assert "RateLimit" not in answer.headers
