"""An event that cannot be processed is put aside with the reason, and those behind it go on."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy.exc import ProgrammingError

from commands import dead_letters
from domain.errors import NotFound
from domain.events import DEAD_LETTERS_TOPIC
from domain.ids import WalletId
from events.confirmations import Confirmations
from events.consumers import ConsumerLoop, note_cache_error, replay_dead_letter
from events.dead_letters import waiting
from events.history import History
from events.history_databases import CONSUMER
from events.messages import Incoming, outgoing
from events.outbox import Outbox
from events.streams import START, TOPICS, streams_of
from infra.database import make_engine, reading
from infra.redis import Cache, make_redis
from infra.role import Life
from tests.events.outbox_rows import transaction_event
from tests.events.stage import Stage, eventually, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers

UNLUCKY = 1313


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    with databases.copy() as database, staged([database], bare_servers.settings, tmp_path) as made:
        made.start_broker()
        yield made


def seen(stage: Stage) -> set[object]:
    """The amounts in the history."""
    return {amount for (amount,) in stage.ask("SELECT amount FROM history.wallet_transactions")}


def refuse(stage: Stage, unlucky: str) -> None:
    """Have the history's table refuse some rows, or none."""
    table = "ALTER TABLE history.wallet_transactions"
    with stage.connect() as connection:
        connection.execute(f"{table} DROP CONSTRAINT IF EXISTS unlucky".encode())
        if unlucky:
            connection.execute(f"{table} ADD CONSTRAINT unlucky CHECK ({unlucky})".encode())


async def test_what_the_database_refuses_is_put_aside_and_processed_when_it_can_be(stage: Stage) -> None:
    refuse(stage, f"amount <> {UNLUCKY}")
    wallet = WalletId.new(3)
    amounts = [*range(1, 20), UNLUCKY, *range(20, 40)]
    async with stage.relay(), stage.consumer(History()):
        stage.tell(*(transaction_event(amount=amount, sender=wallet) for amount in amounts))
        await eventually(lambda: seen(stage) == {*amounts} - {UNLUCKY}, "all others to be in the history")
        published = f"SELECT FROM ledger.relay_positions WHERE topic = '{DEAD_LETTERS_TOPIC}' AND id > 0"
        await eventually(lambda: bool(stage.ask(published)), "it to be told")
    engine = make_engine(stage.settings.shard_urls[0], stage.settings)
    (letter,) = await waiting(engine, consumer=None, limit=10)
    assert (letter.consumer, letter.event.type) == ("history", "transaction.completed")
    assert letter.event.stream in streams_of(History.topics, 0)
    assert letter.reason.startswith("IntegrityError")
    ((told,),) = stage.ask(f"SELECT data->>'message' FROM ledger.outbox WHERE topic = '{DEAD_LETTERS_TOPIC}'")
    assert told == letter.event.value.decode()

    cache = Cache(make_redis(stage.settings), note_cache_error)
    reason = await replay_dead_letter(stage.settings, engine, cache, letter.number)
    assert reason is not None
    assert "unlucky" in reason
    refuse(stage, "")
    said = StringIO()
    console = Console(file=said, width=200)
    await dead_letters.show(stage.settings, console, "history")
    assert await dead_letters.replay(stage.settings, console, [], None)
    await dead_letters.show(stage.settings, console, None)
    assert "history" in said.getvalue()
    assert f"{letter.number}: processed" in said.getvalue()
    assert "No event waits" in said.getvalue()
    assert seen(stage) == {*amounts}
    with pytest.raises(NotFound):
        await replay_dead_letter(stage.settings, engine, cache, letter.number)
    await cache.aclose()
    await engine.dispose()


async def test_what_cannot_be_read_is_put_aside(stage: Stage) -> None:
    good, bad = transaction_event(amount=7), transaction_event(amount=8)
    async with stage.relay(), stage.consumer(History()):
        with stage.connect() as connection:
            connection.execute(
                b"INSERT INTO ledger.outbox (lane, event_id, topic, key, type, data) "
                b'VALUES (%s, gen_random_uuid(), %s, %s, %s, \'{"type": "transaction.completed"}\')',
                [bad.lane, bad.topic, bad.key, bad.kind],
            )
        stage.tell(good)
        await eventually(lambda: seen(stage) == {7}, "the good one to be in the history")
        await eventually(lambda: bool(stage.ask("SELECT FROM ledger.dead_letters")), "the bad one to be put aside")
    said = StringIO()
    assert not await dead_letters.replay(stage.settings, Console(file=said, width=200), [], "history")
    assert "EventUnreadable" in said.getvalue()


async def test_a_set_up_that_is_wrong_is_no_reason_to_put_anything_aside(stage: Stage) -> None:
    with stage.connect() as connection:
        connection.execute(b"ALTER TABLE history.wallet_transactions RENAME COLUMN memo TO note")
    stage.tell(transaction_event(amount=9))
    engine = make_engine(stage.settings.shard_urls[0], stage.settings)
    async with reading(engine) as connection:
        (row,) = await Outbox(connection, 0, connection).read(dict.fromkeys(streams_of(TOPICS, 0), (START, 1)))
        await Confirmations(CONSUMER).register(connection, [row.stream])
    told = outgoing(row, START)
    arrived = Incoming(row.stream, row.position, START, row.type, told.value)
    loop = ConsumerLoop(History(), stage.settings, [engine], Life())
    with pytest.raises(ProgrammingError):
        await loop.apply({row.stream: [arrived]})
    await engine.dispose()
    assert stage.ask("SELECT FROM ledger.dead_letters") == []
