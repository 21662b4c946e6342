"""Searching in a history, against the same search in memory; and making the history anew from the ledger."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncEngine

from commands.history import rebuild
from domain.contracts.payments import ReturnNotice
from domain.ids import TransactionId, WalletId
from domain.transactions import Step, TransactionKind, TransactionStatus
from events.history import History, HistoryFilter, HistoryItem, list_transactions, rows_of, words_of, write
from events.history_databases import HistoryDatabases
from events.history_lag import HistoryLag
from events.history_rebuild import behind
from infra.database import make_engine, transaction
from ledger.local import LocalLedger
from tests.events.outbox_rows import transaction_event
from tests.events.stage import Stage, staged
from tests.money.books import pay_in_every_way
from tests.money.requests import Client
from tests.money.scratch import Databases
from tests.stack.servers import Servers

WALLET, OTHERS = WalletId.new(5), [WalletId.new(6), WalletId.new(7)]
MEMOS = (None, "lunch", "Lunch with Ann", "rent, november", "RENT", "ÉCLAIR au café", "100%_x")


@pytest.fixture(scope="module")
def stage(databases: Databases, bare_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home: Path = tmp_path_factory.mktemp("history-search")
    with databases.shards(2) as shards, staged(shards, bare_servers.settings, home) as made:
        yield made


@pytest.fixture(scope="module")
async def engine(stage: Stage) -> AsyncIterator[AsyncEngine]:
    made = make_engine(stage.settings.shard_urls[0], stage.settings)
    yield made
    await made.dispose()


@dataclass(frozen=True)
class Told:
    """A line of WALLET's history, and when its transaction was asked for."""

    item: HistoryItem
    at: datetime


def line(number: int, at: datetime) -> tuple[Told, Any]:
    """One of all sorts, made of its number."""
    tx_id = TransactionId(f"txn_{int(at.timestamp() * 1000):012x}7{number:019x}")
    kinds = list(TransactionKind)
    kind, status = kinds[number % 3], [TransactionStatus.SUCCEEDED, TransactionStatus.FAILED][number % 5 == 0]
    outgoing = status is TransactionStatus.FAILED or number % 2 == 0
    sides = (
        {"sender": WALLET, "receiver": OTHERS[number % 2]} if outgoing else {"sender": OTHERS[0], "receiver": WALLET}
    )
    if kind is TransactionKind.DEPOSIT:
        sides = {"receiver": WALLET}
    elif kind is TransactionKind.WITHDRAWAL:
        sides = {"sender": WALLET}
    event = transaction_event(status, tx_id=tx_id, kind=kind, amount=number % 7 + 1, **sides).event
    told = event.model_copy(update={"memo": MEMOS[number % len(MEMOS)]})
    (row,) = [row for row in rows_of(told) if row.wallet_id == WALLET]  # type: ignore[arg-type]
    return Told(row.item, at), row


@pytest.fixture(scope="module")
async def lines(engine: AsyncEngine) -> list[Told]:
    """Two hundred of them, a minute apart, oldest first."""
    began = datetime(2026, 3, 2, tzinfo=UTC)
    made = [line(number, began + timedelta(minutes=number)) for number in range(200)]
    async with transaction(engine) as connection:
        await write(connection, [row for _, row in made])
    return [told for told, _ in made]


def fits(told: Told, wanted: HistoryFilter) -> bool:
    """The same question, asked in memory."""
    item = told.item
    return (
        wanted.direction in (None, item.direction)
        and wanted.kind in (None, item.kind)
        and wanted.status in (None, item.status)
        and wanted.counterparty_id in (None, item.counterparty_id)
        and (wanted.min_amount is None or item.amount >= wanted.min_amount)
        and (wanted.max_amount is None or item.amount <= wanted.max_amount)
        and (wanted.since is None or told.at >= wanted.since)
        and (wanted.until is None or told.at < wanted.until)
        and (wanted.memo is None or {*words_of(wanted.memo)} <= {*words_of(item.memo or "")})
    )


MOMENTS = st.integers(0, 200).map(lambda minutes: datetime(2026, 3, 2, tzinfo=UTC) + timedelta(minutes=minutes))
FILTERS = st.builds(
    HistoryFilter,
    direction=st.sampled_from([None, "in", "out"]),
    kind=st.sampled_from([None, *TransactionKind]),
    status=st.sampled_from([None, TransactionStatus.SUCCEEDED, TransactionStatus.FAILED, TransactionStatus.RETURNED]),
    counterparty_id=st.sampled_from([None, None, *OTHERS]),
    min_amount=st.none() | st.integers(1, 8),
    max_amount=st.none() | st.integers(1, 8),
    since=st.none() | MOMENTS,
    until=st.none() | MOMENTS,
    memo=st.sampled_from(
        [None, None, "lunch", "LUNCH ann", "ann lunch", "rent", "éclair", "eclair", "lun", "x", "100"]
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(wanted=FILTERS, size=st.integers(1, 60))
async def test_a_search_finds_what_fits_and_nothing_else(
    engine: AsyncEngine, lines: list[Told], wanted: HistoryFilter, size: int
) -> None:
    found: list[HistoryItem] = []
    while True:
        before = found[-1].transaction_id if found else None
        page = await list_transactions(engine, WALLET, before, size, wanted)
        found += page
        if len(page) < size:
            break
    assert found == [told.item for told in reversed(lines) if fits(told, wanted)]


async def test_another_wallets_words_are_not_found(engine: AsyncEngine, lines: list[Told]) -> None:
    assert len(lines) == 200
    assert await list_transactions(engine, WalletId.new(99), None, 10, HistoryFilter(memo="lunch")) == []


async def test_pages_neither_skip_nor_repeat_while_lines_come_in(engine: AsyncEngine) -> None:
    wallet = WalletId.new(11)
    first = [transaction_event(sender=wallet).event for _ in range(120)]
    async with transaction(engine) as connection:
        await write(connection, [row for event in first for row in rows_of(event)])  # type: ignore[arg-type]

    async def go_on() -> None:
        while True:
            async with transaction(engine) as connection:
                await write(connection, rows_of(transaction_event(sender=wallet).event))  # type: ignore[arg-type]

    writing = asyncio.create_task(go_on())
    read: list[TransactionId] = []
    while page := await list_transactions(engine, wallet, read[-1] if read else None, 7):
        read += [item.transaction_id for item in page]
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert read == sorted(set(read), reverse=True)
    assert {event.tx_id for event in first} <= {*read}  # type: ignore[attr-defined]


COLUMNS = """transaction_id, direction, kind, status, amount, currency, counterparty_id, bank_account_id, memo,
    failure_code, occurred_at, memo_terms"""
LINES = f"SELECT wallet_id, {COLUMNS} FROM history.wallet_transactions ORDER BY wallet_id, transaction_id"
FOREIGN = f"INSERT INTO history.wallet_transactions SELECT %s, {COLUMNS} FROM history.wallet_transactions LIMIT 3"


@pytest.mark.slow
async def test_the_ledger_makes_the_same_history_as_the_events(stage: Stage) -> None:
    stage.start_broker()
    ledger = LocalLedger(stage.settings)
    client = Client(ledger)
    async with stage.relay(), stage.consumer(History()):
        await pay_in_every_way(client)
        there, here = await client.open_wallet(500, shard=1), await client.open_wallet(500, shard=0)
        await client.transfer(there, await client.open_wallet(shard=1), 20)
        returned = await client.deposit(here, 300)
        notice = ReturnNotice(reference="r-1", code="R10", detail="not authorized")
        await client.take_back(returned, Step.RETURN_DEPOSIT, notice)
        lag = HistoryLag([shard.engine for shard in ledger.shards.all])
        engines, places = [shard.engine for shard in ledger.shards.all], HistoryDatabases(stage.settings)
        async with asyncio.timeout(60):
            while True:
                if not await behind(engines, places.all):
                    break
                await asyncio.sleep(0.1)
        assert await lag.seconds(0) is not None
        await places.aclose()
    with stage.connect() as connection:
        # What the tests above have written is no transaction of the ledger's.
        connection.execute(b"DELETE FROM history.wallet_transactions WHERE wallet_id = ANY(%s)", [_not_ours(stage)])
    right = stage.ask(LINES)
    assert ("returned", "R10") in {(row[4], row[10]) for row in right}
    with stage.connect() as connection:
        connection.execute(b"DELETE FROM history.wallet_transactions WHERE amount = 20")
        connection.execute(b"UPDATE history.wallet_transactions SET status = 'processing' WHERE status = 'failed'")
        connection.execute(b"UPDATE history.wallet_transactions SET memo = '?', amount = 1 WHERE kind = 'deposit'")
        connection.execute(FOREIGN.encode(), [WalletId.new(77).uuid])
    assert stage.ask(LINES) != right
    said = StringIO()
    await rebuild(stage.settings, Console(file=said, width=100), kafka=False)
    assert stage.ask(LINES) == right
    assert "3 removed" in said.getvalue()
    said = StringIO()
    await rebuild(stage.settings, Console(file=said, width=100), kafka=False)
    assert "0 lines added or put right, 0 removed" in said.getvalue()
    await ledger.aclose()


def _not_ours(stage: Stage) -> list[object]:
    known = {row[0] for shard in (0, 1) for row in stage.ask("SELECT account_id FROM ledger.accounts", shard)}
    found = stage.ask("SELECT DISTINCT wallet_id FROM history.wallet_transactions")
    return [wallet_id for (wallet_id,) in found if wallet_id not in known]
