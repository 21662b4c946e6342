"""The read model against the ledger: payments in the books come out in the wallets' histories, whatever order."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.events import Envelope, TransactionEvent
from domain.ids import EventId, TransactionId, WalletId
from domain.transactions import Step, TransactionKind, TransactionStatus
from events.history import History, HistoryItem, list_transactions
from events.history_databases import HistoryDatabases
from events.history_rebuild import behind, from_events
from infra.database import make_engine, transaction
from ledger.local import LocalLedger
from tests.events.outbox_rows import transaction_event
from tests.events.stage import Stage, eventually, staged
from tests.money.requests import REFUSED_BY_BANK, Client
from tests.money.scratch import Databases
from tests.stack.servers import Servers


@pytest.fixture(scope="module")
def stage(databases: Databases, bare_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home: Path = tmp_path_factory.mktemp("history")
    with databases.copy() as database, staged([database], bare_servers.settings, home) as made:
        yield made


@pytest.fixture(scope="module")
async def engine(stage: Stage) -> AsyncIterator[AsyncEngine]:
    made = make_engine(stage.settings.shard_urls[0], stage.settings)
    yield made
    await made.dispose()


async def seen(engine: AsyncEngine, wallet_id: WalletId) -> list[tuple[str, str, str, int]]:
    """Direction, kind, status and amount, newest first."""
    items = await list_transactions(engine, wallet_id, None, 100)
    return [(item.direction, item.kind, item.status, item.amount) for item in items]


async def test_payments_in_the_books_come_out_in_the_histories(stage: Stage, engine: AsyncEngine) -> None:
    stage.start_broker()
    ledger = LocalLedger(stage.settings)
    client = Client(ledger)
    async with stage.relay(), stage.consumer(History()):
        payer, payee = await client.open_wallet(10_000), await client.open_wallet()
        await client.transfer(payer, payee, 2_500)
        await client.transfer(payer, payee, 99_999)
        await client.withdraw(payer, 1_000)
        refused = await client.begin_withdrawal(payer, 700)
        await client.take(refused, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK)
        await client.begin_deposit(payee, 300)
        await eventually(lambda: _waiting(stage) == 0, "the history to have everything")
    await ledger.aclose()
    assert await seen(engine, payer) == [
        ("out", "withdrawal", "failed", 700),
        ("out", "withdrawal", "succeeded", 1_000),
        ("out", "transfer", "failed", 99_999),
        ("out", "transfer", "succeeded", 2_500),
        ("in", "deposit", "succeeded", 10_000),
    ]
    assert await seen(engine, payee) == [("in", "deposit", "processing", 300), ("in", "transfer", "succeeded", 2_500)]
    newest = (await list_transactions(engine, payer, None, 1))[0]
    assert newest.failure_code == REFUSED_BY_BANK.code
    in_the_books = stage.ask("SELECT transaction_id, status FROM ledger.transactions ORDER BY 1")
    assert in_the_books == stage.ask(
        "SELECT DISTINCT transaction_id, status FROM history.wallet_transactions ORDER BY 1"
    )


async def test_a_history_is_rebuilt_while_everything_runs(stage: Stage, engine: AsyncEngine) -> None:
    rows = "SELECT * FROM history.wallet_transactions ORDER BY wallet_id, transaction_id"
    wallet, history = WalletId.new(3), HistoryDatabases(stage.settings)
    stage.start_broker()
    async with stage.relay(), stage.consumer(History()):
        for status in (TransactionStatus.PROCESSING, TransactionStatus.SUCCEEDED):
            stage.tell(*(transaction_event(status, sender=wallet) for _ in range(100)))
        await eventually(lambda: _waiting(stage) == 0, "the history to have everything")
        before = stage.ask(rows)
        with stage.connect() as connection:
            connection.execute(b"DELETE FROM history.wallet_transactions WHERE wallet_id = %s", [wallet.uuid])
        await from_events(engine, history.all)
        assert _waiting(stage) > 0
        assert await behind([engine], history.all) > 0
        await eventually(lambda: _waiting(stage) == 0, "the history to be rebuilt")
        assert await behind([engine], history.all) == 0
        assert len(before) > 200
        assert stage.ask(rows) == before
    await history.aclose()


def _waiting(stage: Stage) -> int:
    """Events of transactions that the history has not confirmed."""
    rows = stage.ask("""
        SELECT count(*) FROM ledger.outbox o JOIN ledger.consumer_positions c USING (topic, lane)
        WHERE c.consumer = 'history' AND (o.xid, o.id) > (c.xid, c.id)""")
    return int(str(rows[0][0]))


def envelope(status: TransactionStatus, wallet: WalletId, tx_id: TransactionId, at: int) -> Envelope:
    row = transaction_event(status, tx_id=tx_id, kind=TransactionKind.DEPOSIT, receiver=wallet)
    event = row.event.model_copy(update={"timestamp": datetime.fromtimestamp(at, UTC)})
    assert isinstance(event, TransactionEvent)
    return Envelope(
        id=EventId.new(0),
        type=event.model_dump()["type"],
        time=event.timestamp,
        shard=0,
        key=row.key,
        position=f"{at}/1",
        data=event,
    )


async def heard(engine: AsyncEngine, envelopes: list[list[Envelope]], wallet: WalletId) -> HistoryItem:
    """What the history says after these batches."""
    for batch in envelopes:
        async with transaction(engine) as connection:
            await History().apply(connection, batch)
    (item,) = await list_transactions(engine, wallet, None, 10)
    return item


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
async def test_a_late_or_repeated_event_never_takes_a_status_back(engine: AsyncEngine, data: st.DataObject) -> None:
    wallet, tx_id = WalletId.new(1), TransactionId.new(1)
    last = data.draw(st.sampled_from([TransactionStatus.SUCCEEDED, TransactionStatus.FAILED]))
    truth = [envelope(TransactionStatus.PROCESSING, wallet, tx_id, 1_000), envelope(last, wallet, tx_id, 2_000)]
    told = data.draw(st.lists(st.lists(st.sampled_from(truth), min_size=1, max_size=3), min_size=1, max_size=5))
    item = await heard(engine, told, wallet)
    newest = max((one for batch in told for one in batch), key=lambda one: one.time)
    assert isinstance(newest.data, TransactionEvent)
    assert (item.status, item.occurred_at) == (newest.data.status, newest.data.timestamp)
    assert item.failure_code == (newest.data.failure.code if newest.data.failure else None)


async def test_pages_follow_each_other_without_a_gap(stage: Stage, engine: AsyncEngine) -> None:
    wallet = WalletId.new(9)
    made = [TransactionId.new(n) for n in range(7)]
    async with transaction(engine) as connection:
        told = [envelope(TransactionStatus.SUCCEEDED, wallet, tx_id, 1_000) for tx_id in made]
        await History().apply(connection, told)
    read: list[TransactionId] = []
    while page := await list_transactions(engine, wallet, read[-1] if read else None, 3):
        read += [item.transaction_id for item in page]
    assert read == sorted(made, reverse=True)
    assert await list_transactions(engine, WalletId.new(9), None, 3) == []
