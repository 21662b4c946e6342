"""Group commit: one commit for all who wait, each decided on its own, and nobody's trouble is a neighbour's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import psycopg
import pytest

from domain.contracts.payments import PaymentRequest, StepResult
from domain.errors import IdempotencyKeyReused, LedgerBusy, LedgerRejected
from domain.holds import HoldStatus
from domain.ids import WalletId
from domain.transactions import Step, StepDecision, TransactionKind, TransactionStatus
from infra.database import Pipeline, Statement
from ledger.invariants import verify
from ledger.local import LocalLedger
from tests.money.holds import capture, capture_request, place, standing
from tests.money.records import Records
from tests.money.requests import REFUSED_BY_BANK, Client, again
from tests.money.scratch import Database
from tests.stack.servers import Servers

NEIGHBOURS = 60
QUEUE = 80
POSTED, REFUSED = StepDecision.POSTED, StepDecision.REFUSED


@pytest.fixture
async def lone(database: Database, bare_servers: Servers) -> AsyncIterator[LocalLedger]:
    """A ledger with one writer: while it is busy, everything that is asked for becomes its next group."""
    settings = database.settings(bare_servers.settings, ledger_writers=1, ledger_queue_size=QUEUE)
    service = LocalLedger(settings)
    yield service
    await service.aclose()


@pytest.fixture
def app(lone: LocalLedger, client: Client) -> Client:
    """The test's client, with the ledger of one writer."""
    return replace(client, ledger=lone)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that a writer sends, as it is sent."""
    statements: list[str] = []
    send = Pipeline._send

    async def listen(pipeline: Pipeline, statement: Statement) -> psycopg.AsyncCursor[object]:
        statements.append(statement[0])
        return await send(pipeline, statement)

    monkeypatch.setattr(Pipeline, "_send", listen)
    return statements


@asynccontextmanager
async def _writer_busy(app: Client, database: Database) -> AsyncIterator[None]:
    """The writer waits for a wallet that somebody else has locked; at the end of the block it goes on."""
    wallet, other = await app.open_wallet(1_000), await app.open_wallet()
    with database.connect("sagapay_app") as blocker:
        with blocker.transaction():
            blocker.execute("SELECT FROM ledger.accounts WHERE account_id = %s FOR UPDATE", [wallet.uuid])
            blocked = asyncio.create_task(app.transfer(wallet, other, 1))
            while not blocker.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            yield
        assert (await blocked).decision is POSTED


async def _as_one_group(
    app: Client, database: Database, calls: list[Callable[[], Awaitable[StepResult]]]
) -> list[StepResult | BaseException]:
    async with _writer_busy(app, database):
        waiting = [asyncio.create_task(_call(call)) for call in calls]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
    return await asyncio.gather(*waiting, return_exceptions=True)


async def _call(call: Callable[[], Awaitable[StepResult]]) -> StepResult:
    return await call()


def _pay(app: Client, sender: WalletId, receiver: WalletId, amount: int) -> PaymentRequest:
    return app.request(TransactionKind.TRANSFER, amount, source=sender, destination=receiver)


async def test_a_group_takes_as_many_statements_as_one_payment(
    app: Client, database: Database, sent: list[str]
) -> None:
    wallets = [await app.open_wallet(1_000) for _ in range(6)]
    sent.clear()
    await app.transfer(wallets[0], wallets[1], 5)
    alone = list(sent)
    assert len(alone) == 4
    sent.clear()
    requests = [_pay(app, wallets[n % 6], wallets[(n + 1) % 6], 5) for n in range(NEIGHBOURS)]
    results = await _as_one_group(
        app, database, [partial(app.ledger.begin, each, Step.SETTLE_TRANSFER) for each in requests]
    )
    assert all(isinstance(result, StepResult) and result.decision is POSTED for result in results)
    # What the blocked payment and the wallets for it took, then one group: the same four statements.
    assert sent[-4:] == alone
    assert [statement for statement in sent if "idempotency_keys" in statement][-2:] == [alone[1]] * 2


async def test_captures_of_a_hold_cost_their_group_one_statement_more(
    app: Client, database: Database, sent: list[str]
) -> None:
    wallet, shop = await app.open_wallet(1_000), await app.open_wallet()
    hold = await place(app, wallet, 500)
    sent.clear()
    await capture(app, hold, shop, 1)
    alone = list(sent)
    assert len(alone) == 5
    requests = [capture_request(app, hold, shop, 2) for _ in range(NEIGHBOURS)]
    results = await _as_one_group(
        app, database, [partial(app.ledger.begin, each, Step.CAPTURE_HOLD) for each in requests]
    )
    assert all(isinstance(result, StepResult) and result.decision is POSTED for result in results)
    assert sent[-5:] == alone
    assert await standing(app, hold) == (HoldStatus.ACTIVE, 1 + 2 * NEIGHBOURS, 499 - 2 * NEIGHBOURS)


async def test_a_group_is_one_commit_and_leaves_sound_books(
    app: Client, database: Database, records: Records, lone: LocalLedger
) -> None:
    wallets = [await app.open_wallet(1_000) for _ in range(4)]
    withdrawal = await app.begin_withdrawal(wallets[0], 100)
    requests = [_pay(app, wallets[n % 4], wallets[(n + 1) % 4], 1 + n) for n in range(NEIGHBOURS // 2)]
    results = await _as_one_group(
        app,
        database,
        [
            *(partial(lone.begin, each, Step.SETTLE_TRANSFER) for each in requests),
            lambda: app.take(withdrawal, Step.CAPTURE_WITHDRAWAL),
        ],
    )
    paid = [result for result in results if isinstance(result, StepResult) and result.decision is POSTED]
    assert len(paid) == len(results)
    ids = [result.transaction_id.uuid for result in paid]
    commits = """SELECT count(DISTINCT xmin::text) FROM ledger.transaction_steps
                 WHERE step <> 'hold_withdrawal' AND transaction_id = ANY(%s)"""
    assert records.value(commits, ids) == 1
    findings = await verify(lone.shards.all[0].engine)
    assert [finding.name for finding in findings if not finding.ok] == []


async def test_a_refused_one_does_not_spoil_its_neighbours(
    app: Client, database: Database, lone: LocalLedger, records: Records
) -> None:
    rich, poor, receiver = await app.open_wallet(10_000), await app.open_wallet(5), await app.open_wallet()
    nobody = WalletId.new(rich.bucket)
    good = [_pay(app, rich, receiver, 10) for _ in range(NEIGHBOURS)]
    used = await app.transfer(rich, receiver, 1, key="used")
    bad = {
        "too much": _pay(app, poor, receiver, 6),
        "to nobody": _pay(app, rich, nobody, 10),
        "for the database": replace(_pay(app, rich, receiver, 10), memo="a\x00b"),
        "another body": app.request(TransactionKind.TRANSFER, 2, source=rich, destination=receiver, key="used"),
        "a repeat": app.request(TransactionKind.TRANSFER, 1, source=rich, destination=receiver, key="used"),
        "a twin": again(good[0]),
    }
    requests = [*good[: NEIGHBOURS // 2], *bad.values(), *good[NEIGHBOURS // 2 :]]
    results = await _as_one_group(app, database, [partial(lone.begin, each, Step.SETTLE_TRANSFER) for each in requests])
    of = dict(zip(bad, results[NEIGHBOURS // 2 :], strict=False))
    neighbours = results[: NEIGHBOURS // 2] + results[NEIGHBOURS // 2 + len(bad) :]
    assert all(isinstance(result, StepResult) and result.decision is POSTED for result in neighbours)
    assert isinstance(of["too much"], StepResult)
    assert of["too much"].decision is REFUSED
    assert isinstance(of["to nobody"], LedgerRejected)
    assert isinstance(of["for the database"], psycopg.Error)
    assert isinstance(of["another body"], IdempotencyKeyReused)
    assert of["a repeat"] == replace(used, replayed=True)
    twin, first = of["a twin"], neighbours[0]
    assert isinstance(twin, StepResult)
    assert isinstance(first, StepResult)
    assert twin.transaction_id == first.transaction_id
    assert await app.money(receiver) == (10 * NEIGHBOURS + 1, 0)
    assert await app.money(poor) == (5, 0)
    key = bad["to nobody"].idempotency
    assert key is not None
    assert await lone.find_key(key.key_digest, rich) is None, "what is never right leaves its key unused"


async def test_a_later_item_sees_what_an_earlier_one_left(app: Client, database: Database, lone: LocalLedger) -> None:
    giver, middle, receiver = await app.open_wallet(100), await app.open_wallet(), await app.open_wallet()
    requests = [_pay(app, giver, middle, 100), _pay(app, middle, receiver, 100), _pay(app, middle, receiver, 1)]
    results = await _as_one_group(app, database, [partial(lone.begin, each, Step.SETTLE_TRANSFER) for each in requests])
    assert [result.decision for result in results if isinstance(result, StepResult)] == [POSTED, POSTED, REFUSED]
    assert [await app.money(wallet) for wallet in (giver, middle, receiver)] == [(0, 0), (0, 0), (100, 0)]


async def test_a_cancelled_caller_tears_no_group(app: Client, database: Database, lone: LocalLedger) -> None:
    sender, receiver = await app.open_wallet(100), await app.open_wallet()
    requests = [_pay(app, sender, receiver, 10) for _ in range(3)]
    async with _writer_busy(app, database):
        waiting = [asyncio.create_task(lone.begin(each, Step.SETTLE_TRANSFER)) for each in requests]
        await asyncio.sleep(0.05)
        waiting[1].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert [isinstance(result, StepResult) for result in results] == [True, False, True]
    # It was taken on, so it is done; whoever asks again is told so.
    repeated = await lone.begin(again(requests[1]), Step.SETTLE_TRANSFER)
    assert (repeated.decision, repeated.replayed) == (POSTED, True)
    assert await app.money(receiver) == (30, 0)


async def test_more_than_may_wait_are_told_to_come_back(app: Client, database: Database, lone: LocalLedger) -> None:
    sender, receiver = await app.open_wallet(1_000), await app.open_wallet()
    requests = [_pay(app, sender, receiver, 1) for _ in range(QUEUE + 20)]
    results = await _as_full_queue(app, database, lone, requests)
    busy = [request for request, result in zip(requests, results, strict=True) if isinstance(result, LedgerBusy)]
    assert len(busy) == 20
    assert await app.money(receiver) == (QUEUE, 0)
    for request in busy:
        assert (await lone.begin(again(request), Step.SETTLE_TRANSFER)).replayed is False
    assert await app.money(receiver) == (QUEUE + 20, 0)


async def _as_full_queue(
    app: Client, database: Database, lone: LocalLedger, requests: list[PaymentRequest]
) -> list[StepResult | BaseException]:
    async with _writer_busy(app, database):
        waiting = [asyncio.create_task(lone.begin(each, Step.SETTLE_TRANSFER)) for each in requests]
        left = set(waiting)
        while len(left) > QUEUE:
            _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_commit_whose_outcome_is_unknown_is_settled_by_its_keys(
    app: Client, lone: LocalLedger, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver = await app.open_wallet(100), await app.open_wallet()
    commit = Pipeline.run_and_commit
    lost: list[Statement] = []

    async def lose_the_answer(pipeline: Pipeline, statement: Statement) -> None:
        await commit(pipeline, statement)
        if not lost:
            lost.append(statement)
            raise psycopg.OperationalError("the connection is gone")

    monkeypatch.setattr(Pipeline, "run_and_commit", lose_the_answer)
    request = _pay(app, sender, receiver, 40)
    settled = await lone.begin(request, Step.SETTLE_TRANSFER)
    assert (settled.transaction_id, settled.decision) == (request.transaction_id, POSTED)
    assert settled.replayed, "it was found under its key, not paid again"
    assert (await app.money(sender), await app.money(receiver)) == ((60, 0), (40, 0))
    assert records.commits(request.transaction_id) == 1


async def test_callers_are_served_whenever_they_come(app: Client, lone: LocalLedger) -> None:
    """Between the end of one writer and the start of the next nobody is left waiting."""
    wallets = [await app.open_wallet(10_000) for _ in range(4)]

    async def caller(number: int) -> None:
        for _ in range(25):
            await app.transfer(wallets[number % 4], wallets[(number + 1) % 4], 1)

    async with asyncio.timeout(60):
        await asyncio.gather(*(caller(number) for number in range(12)))
    assert sum([(await app.money(wallet))[0] for wallet in wallets]) == 40_000


async def test_a_step_that_is_asked_for_twice_in_a_group_is_taken_once(app: Client, database: Database) -> None:
    wallet = await app.open_wallet()
    begun = await app.begin_deposit(wallet, 500)
    results = await _as_one_group(app, database, [partial(app.take, begun, Step.CREDIT_DEPOSIT)] * 2)
    taken = [result for result in results if isinstance(result, StepResult)]
    assert sorted((result.replayed, result.decision) for result in taken) == [(False, POSTED), (True, POSTED)]
    assert await app.money(wallet) == (500, 0)


async def test_a_payment_that_ends_in_a_group_is_not_ended_again_by_the_next_item(
    app: Client, database: Database
) -> None:
    wallet = await app.open_wallet(500)
    begun = await app.begin_withdrawal(wallet, 500)
    released, captured = await _as_one_group(
        app,
        database,
        [
            partial(app.take, begun, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK),
            partial(app.take, begun, Step.CAPTURE_WITHDRAWAL),
        ],
    )
    assert isinstance(released, StepResult)
    assert released.status is TransactionStatus.FAILED
    assert isinstance(captured, LedgerRejected)
    assert await app.money(wallet) == (500, 0)


async def test_a_hold_that_is_let_go_twice_in_a_group_gives_back_once(app: Client, database: Database) -> None:
    wallet = await app.open_wallet(1_000)
    kept, hold = await place(app, wallet, 400), await place(app, wallet, 300)
    async with _writer_busy(app, database):
        released = [asyncio.create_task(app.ledger.release_hold(hold.hold_id)) for _ in range(3)]
        await asyncio.sleep(0.05)
    assert {found.status for found in await asyncio.gather(*released)} == {HoldStatus.RELEASED}
    assert await app.money(wallet) == (1_000, kept.remaining)
