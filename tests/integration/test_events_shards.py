"""Events of two shards: told side by side, applied in one place, and neither waits for the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.events import LANES
from events.streams import TOPICS
from tests.events.outbox_rows import transaction_event
from tests.events.stage import Recorder, Stage, eventually, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers

pytestmark = pytest.mark.slow


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    with databases.shards(2) as shards, staged(shards, bare_servers.settings, tmp_path) as made:
        yield made


async def test_every_shards_events_have_their_effect_once_and_in_order(stage: Stage) -> None:
    stage.start_broker()
    async with stage.relay(), stage.consumer(Recorder()):
        for _ in range(10):
            stage.tell(*(transaction_event() for _ in range(5)))
            stage.tell(*(transaction_event() for _ in range(7)), shard=1)
        await stage.until_all_applied()
    assert [sum(map(len, stage.effects(shard=shard).values())) for shard in (0, 1)] == [50, 70]


async def test_what_an_empty_broker_lacks_of_either_shard_is_published_again(stage: Stage) -> None:
    """As far as a relay runs ahead of its consumers, who say on the first shard how far they are."""
    stage.start_broker()
    async with stage.relay(relay_max_ahead=20):
        async with stage.consumer(Recorder()):
            stage.tell(transaction_event(), shard=1)
            await stage.until_all_applied()
        stage.tell(*(transaction_event() for _ in range(400)), shard=1)
        await eventually(lambda: _published(stage) > 20, "some to be published, and to be lost with the broker")
        assert _published(stage) <= 1 + 20 * LANES
        stage.start_broker()
        async with stage.consumer(Recorder()):
            await stage.until_all_applied()


def _published(stage: Stage) -> int:
    query = f"""
        SELECT count(*) FROM ledger.outbox o JOIN ledger.relay_positions r USING (topic, lane)
        WHERE (o.xid, o.id) <= (r.xid, r.id) AND topic = '{TOPICS[0]}'"""
    return int(str(stage.ask(query, shard=1)[0][0]))


async def test_a_shard_that_is_away_holds_up_its_own_events_alone(stage: Stage) -> None:
    stage.start_broker()
    with stage.shards[0].connect() as elsewhere:
        async with stage.relay(), stage.consumer(Recorder()):
            stage.tell(transaction_event(), shard=1)
            await stage.until_all_applied()
            name = stage.shards[1].name
            elsewhere.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false".encode())
            elsewhere.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            stage.tell(*(transaction_event() for _ in range(10)))
            wanted = stage.outbox(TOPICS[0])
            await eventually(lambda: stage.effects() == wanted, "the effects of the other shard's events")
            elsewhere.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true".encode())
            stage.tell(transaction_event(), shard=1)
            await stage.until_all_applied()
