"""The consumer that drops outdated balances from the cache, between the embedded broker and a real Redis."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from domain.ids import WalletId
from events.balances import Balances
from infra.local.probes import free_ports
from infra.redis import Cache, balance_name, make_redis
from tests.events.outbox_rows import entry_event
from tests.events.stage import Stage, eventually, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    with databases.copy() as database, staged([database], bare_servers.settings, tmp_path) as made:
        yield made


@pytest.fixture
async def redis(bare_servers: Servers) -> AsyncIterator[Redis]:
    """What is really there."""
    async with Redis.from_url(bare_servers.settings.redis_url) as connected:
        yield connected


@pytest.fixture
async def cache(bare_servers: Servers) -> AsyncIterator[Cache]:
    """The cache as roles have it."""
    made = Cache(make_redis(bare_servers.settings), lambda operation, error: None)
    yield made
    await made.aclose()


async def until_confirmed(stage: Stage) -> None:
    """The consumer has had the effects of all that was told."""
    behind = """
        SELECT FROM ledger.outbox o WHERE NOT EXISTS (
            SELECT FROM ledger.consumer_positions c
            WHERE c.consumer = 'balances' AND (c.topic, c.lane) = (o.topic, o.lane) AND (c.xid, c.id) >= (o.xid, o.id))
    """
    await eventually(lambda: not stage.ask(behind), "the balances' consumer to confirm everything")


@pytest.mark.slow
async def test_entries_drop_the_balances_that_they_have_outdated(stage: Stage, cache: Cache, redis: Redis) -> None:
    stage.start_broker()
    old, new = WalletId.new(7), WalletId.new(8)
    for wallet, version in ((old, 2), (new, 9)):
        value = {"version": version, "value": "cached"}
        await redis.hset(balance_name(wallet), mapping=value)  # type: ignore[arg-type]
    async with stage.relay(), stage.consumer(Balances(cache)):
        for version in range(1, 6):
            stage.tell(entry_event(old, version), entry_event(new, version))
        await until_confirmed(stage)
    assert await redis.hget(balance_name(new), "value") == b"cached"
    assert await redis.hgetall(balance_name(old)) == {b"floor": b"5"}


@pytest.mark.slow
async def test_a_redis_that_is_gone_holds_no_consumer_up(stage: Stage) -> None:
    (port,) = free_ports(1)
    errors: list[str] = []
    gone = stage.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{port}/0"})
    cache = Cache(make_redis(gone), lambda operation, _: errors.append(operation))
    stage.start_broker()
    async with stage.relay(), stage.consumer(Balances(cache)):
        stage.tell(*(entry_event(WalletId.new(7), version) for version in range(1, 20)))
        await until_confirmed(stage)
    await cache.aclose()
    assert set(errors) == {"outdate"}
