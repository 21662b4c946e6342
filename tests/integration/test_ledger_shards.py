"""Transfers and captures between two shards, step by step: what each shard records, whatever is repeated or raced."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.contracts.payments import Failure, PaymentRequest, StepResult
from domain.contracts.wallets import ChangeKind, WalletLimits
from domain.errors import DecisionCode, IdempotencyKeyReused, LedgerRejected, WalletInUse
from domain.holds import HoldStatus
from domain.ids import UserId, WalletId, random_bucket
from domain.money import Money
from domain.transactions import Step, StepDecision, TransactionKind, TransactionStatus
from ledger.invariants import Finding, verify_shards
from ledger.invariants.between import read_dues
from ledger.local import LocalLedger
from tests.money.holds import capture_request, place, standing
from tests.money.records import Records
from tests.money.requests import Client, again, change_wallet
from tests.money.scratch import Database, Databases, settings_of
from tests.stack.servers import Servers

POSTED, REFUSED = StepDecision.POSTED, StepDecision.REFUSED
PROCESSING, SUCCEEDED, FAILED = TransactionStatus.PROCESSING, TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
CANCELLED = Failure(code=DecisionCode.CANCELLED, detail="A test.")


@dataclass
class Across:
    """Two shards, an app with wallets on both, and what each shard has recorded."""

    ledger: LocalLedger
    client: Client
    databases: list[Database]

    @property
    def engines(self) -> list[AsyncEngine]:
        return [shard.engine for shard in self.ledger.shards.all]

    async def wallet(self, shard: int, balance: int = 0) -> WalletId:
        """A wallet on a shard."""
        bucket = random_bucket() // 2 + 2048 * shard
        wallet_id = WalletId.new(bucket)
        await self.ledger.open_wallet(wallet_id, UserId.new(bucket), self.client.client_id, "USD")
        if balance:
            await self.client.deposit(wallet_id, balance)
        return wallet_id

    async def pair(self, balance: int = 1_000) -> tuple[WalletId, WalletId]:
        """A sender with money on the first shard, a receiver on the second."""
        return await self.wallet(0, balance), await self.wallet(1)

    def asked(self, source: WalletId, destination: WalletId, amount: int = 400) -> PaymentRequest:
        """A transfer as the API would ask for it."""
        return self.client.request(TransactionKind.TRANSFER, amount, source=source, destination=destination)

    async def send(self, request: PaymentRequest) -> StepResult:
        """The first step."""
        return await self.ledger.begin(request, Step.SETTLE_TRANSFER)

    async def end(self, request: PaymentRequest, step: Step, failure: Failure | None = None) -> StepResult:
        """The last step."""
        return await self.client.take(request.transaction_id, step, failure=failure)

    async def posted(self, *wallets: WalletId) -> list[int]:
        """What is in wallets."""
        return [(await self.client.wallet(wallet)).posted for wallet in wallets]

    async def wrong(self) -> dict[str, list[str]]:
        """What the invariants have to say, without the banks."""
        findings = (await verify_shards(self.engines)).findings
        return {finding.name: [str(one) for one in finding.violations] for finding in findings if not finding.ok}

    async def between(self) -> Finding:
        """Invariant 7, of the shards together."""
        findings = (await verify_shards(self.engines)).together
        return next(finding for finding in findings if finding.name == "between shards")

    def steps(self, shard: int, request: PaymentRequest) -> list[tuple[object, ...]]:
        """(step, outcome) on a shard."""
        with self.databases[shard].connect() as connection:
            return Records(connection, "").steps(request.transaction_id)

    def told(self, shard: int, request: PaymentRequest) -> list[str]:
        """The types of a shard's events."""
        with self.databases[shard].connect() as connection:
            return Records(connection, "").told(request.transaction_id)


@pytest.fixture(scope="module")
def pair(databases: Databases) -> Iterator[list[Database]]:
    with databases.shards(2) as made:
        yield made


@pytest.fixture(scope="module")
async def across(pair: list[Database], bare_servers: Servers) -> AsyncIterator[Across]:
    ledger = LocalLedger(settings_of(pair, bare_servers.settings))
    yield Across(ledger, Client(ledger), pair)
    await ledger.aclose()


async def test_a_transfer_is_sent_received_and_completed(across: Across) -> None:
    sender, receiver = await across.pair()
    request = across.asked(sender, receiver)
    sent = await across.send(request)
    assert (sent.step, sent.decision, sent.status) == (Step.SEND_TRANSFER, POSTED, PROCESSING)
    assert await across.posted(sender, receiver) == [600, 0]
    assert (await across.wrong(), (await across.between()).note) == ({}, "1 transfers may be on their way")
    received = await across.ledger.receive_transfer(request)
    assert (received.decision, received.failure) == (POSTED, None)
    assert await across.posted(sender, receiver) == [600, 400]
    assert await across.wrong() == {}
    completed = await across.end(request, Step.COMPLETE_TRANSFER)
    assert (completed.status, completed.failure) == (SUCCEEDED, None)
    assert (await across.wrong(), (await across.between()).note) == ({}, "")
    assert across.steps(0, request) == [("send_transfer", "posted"), ("complete_transfer", "posted")]
    assert across.steps(1, request) == [("receive_transfer", "posted")]
    assert across.told(0, request) == [*["entry.posted"] * 2, "transaction.processing", "transaction.completed"]
    assert across.told(1, request) == ["entry.posted"] * 2
    entries = await across.ledger.entries(receiver, before_version=None, limit=9)
    assert [(entry.transaction_id, entry.side, entry.amount) for entry in entries] == [
        (request.transaction_id, "CREDIT", 400)
    ]


async def test_every_step_can_be_repeated_at_any_time(across: Across) -> None:
    sender, receiver = await across.pair()
    request = across.asked(sender, receiver)
    first = await across.send(request)
    received = await across.ledger.receive_transfer(request)
    await across.end(request, Step.COMPLETE_TRANSFER)
    for _ in range(2):
        for repeat in (again(request), replace(request, idempotency=None)):
            repeated = await across.send(repeat)
            assert (repeated.transaction_id, repeated.step, repeated.status) == (
                first.transaction_id, Step.SEND_TRANSFER, SUCCEEDED,
            )  # fmt: skip
        for failure in (None, CANCELLED):
            assert await across.ledger.receive_transfer(request, failure) == replace(received, replayed=True)
        assert (await across.end(request, Step.COMPLETE_TRANSFER)).status is SUCCEEDED
    assert await across.posted(sender, receiver) == [600, 400]
    assert await across.wrong() == {}


@pytest.mark.parametrize(
    ("kind", "code"),
    [(ChangeKind.FREEZE, DecisionCode.WALLET_FROZEN), (ChangeKind.CLOSE, DecisionCode.WALLET_CLOSED)],
)
async def test_what_the_receiver_cannot_take_is_given_back(across: Across, kind: ChangeKind, code: str) -> None:
    sender, receiver = await across.pair()
    request = across.asked(sender, receiver)
    await change_wallet(across.ledger, receiver, kind)
    await across.send(request)
    received = await across.ledger.receive_transfer(request)
    assert received.failure is not None
    assert (received.decision, received.failure.code) == (REFUSED, code)
    # What was refused stays refused, even if it were possible by now.
    if kind is ChangeKind.FREEZE:
        await change_wallet(across.ledger, receiver, ChangeKind.UNFREEZE)
    assert (await across.ledger.receive_transfer(request)).decision is REFUSED
    with pytest.raises(LedgerRejected):
        await across.end(request, Step.COMPLETE_TRANSFER)
    reversed_ = await across.end(request, Step.REVERSE_TRANSFER, received.failure)
    assert reversed_.status is FAILED
    found = await across.ledger.transaction(request.transaction_id)
    assert found is not None
    assert found.failure == received.failure
    assert await across.posted(sender, receiver) == [1_000, 0]
    assert across.told(1, request) == []
    assert await across.wrong() == {}


async def test_what_is_given_back_makes_room_in_the_senders_limit_and_keeps_the_wallet_open(across: Across) -> None:
    sender, receiver = await across.pair()
    await change_wallet(across.ledger, sender, ChangeKind.LIMIT, limits=WalletLimits(daily=1_000))
    sent, over = across.asked(sender, receiver, 1_000), across.asked(sender, receiver, 1)
    await across.send(sent)
    assert (await across.client.wallet(sender)).spent == 1_000
    with pytest.raises(WalletInUse):  # It is empty, but what is on its way may come back.
        await change_wallet(across.ledger, sender, ChangeKind.CLOSE)
    refused = await across.send(over)
    assert refused.failure is not None
    assert refused.failure.code == DecisionCode.LIMIT_DAILY_EXCEEDED
    await across.ledger.receive_transfer(sent, CANCELLED)
    await across.end(sent, Step.REVERSE_TRANSFER, CANCELLED)
    assert (await across.client.wallet(sender)).spent == 0
    again_sent = across.asked(sender, receiver, 1_000)
    assert (await across.send(again_sent)).status is PROCESSING
    assert (await across.ledger.receive_transfer(again_sent)).decision is POSTED
    assert (await across.end(again_sent, Step.COMPLETE_TRANSFER)).status is SUCCEEDED
    assert await across.wrong() == {}


async def test_a_hold_is_captured_for_a_receiver_on_another_shard(across: Across) -> None:
    sender, receiver = await across.pair()
    hold = await place(across.client, sender, 900)
    request = capture_request(across.client, hold, receiver, 300)
    sent = await across.ledger.begin(request, Step.CAPTURE_HOLD)
    assert (sent.step, sent.decision, sent.status) == (Step.SEND_TRANSFER, POSTED, PROCESSING)
    assert await across.client.money(sender) == (700, 600)
    assert await standing(across.client, hold) == (HoldStatus.ACTIVE, 300, 600)
    assert across.told(0, request)[-1] == "transaction.processing"
    assert (await across.ledger.receive_transfer(request)).decision is POSTED
    assert (await across.end(request, Step.COMPLETE_TRANSFER)).status is SUCCEEDED
    for repeat in (again(request), replace(request, idempotency=None)):
        repeated = await across.ledger.begin(repeat, Step.CAPTURE_HOLD)
        assert (repeated.transaction_id, repeated.step, repeated.status) == (
            sent.transaction_id, Step.SEND_TRANSFER, SUCCEEDED,
        )  # fmt: skip
    last = capture_request(across.client, hold, receiver, 500, rest=True)
    assert (await across.ledger.begin(last, Step.CAPTURE_HOLD)).status is PROCESSING
    assert await standing(across.client, hold) == (HoldStatus.CAPTURED, 800, 0)
    assert await across.client.money(sender) == (200, 0)
    too_late = await across.ledger.begin(capture_request(across.client, hold, receiver, 1), Step.CAPTURE_HOLD)
    assert too_late.failure is not None
    assert (too_late.step, too_late.failure.code) == (Step.SEND_TRANSFER, DecisionCode.HOLD_ENDED)
    assert await across.wrong() == {}
    await across.ledger.receive_transfer(last)
    await across.end(last, Step.COMPLETE_TRANSFER)
    assert await across.posted(sender, receiver) == [200, 800]
    assert (await across.wrong(), (await across.between()).note) == ({}, "")


async def test_a_capture_that_the_receiver_cannot_take_is_given_back_and_not_held_again(across: Across) -> None:
    sender, receiver = await across.pair()
    await change_wallet(across.ledger, sender, ChangeKind.LIMIT, limits=WalletLimits(daily=1_000))
    await change_wallet(across.ledger, receiver, ChangeKind.FREEZE)
    hold = await place(across.client, sender, 900)
    request = capture_request(across.client, hold, receiver, 300)
    await across.ledger.begin(request, Step.CAPTURE_HOLD)
    assert (await across.client.wallet(sender)).spent == 900, "it counted when it was held, and does not count again"
    received = await across.ledger.receive_transfer(request)
    assert received.failure is not None
    assert (await across.end(request, Step.REVERSE_TRANSFER, received.failure)).status is FAILED
    assert await standing(across.client, hold) == (HoldStatus.ACTIVE, 300, 600)
    assert await across.client.money(sender) == (1_000, 600)
    await across.ledger.release_hold(hold.hold_id)
    assert await across.client.money(sender) == (1_000, 0)
    assert (await across.client.wallet(sender)).spent == 300
    assert await across.wrong() == {}


async def test_what_the_sender_does_not_have_is_not_sent(across: Across) -> None:
    sender, receiver = await across.pair(balance=399)
    request = across.asked(sender, receiver)
    refused = await across.send(request)
    assert refused.failure is not None
    assert (refused.status, refused.failure.code) == (FAILED, DecisionCode.INSUFFICIENT_FUNDS)
    assert await across.posted(sender, receiver) == [399, 0]
    assert await across.wrong() == {}


async def test_a_transfer_ends_only_as_the_receivers_shard_has_recorded(across: Across) -> None:
    sender, receiver = await across.pair()
    request = across.asked(sender, receiver)
    await across.send(request)
    with pytest.raises(LedgerRejected, match="not taken"):
        await across.end(request, Step.COMPLETE_TRANSFER)
    with pytest.raises(LedgerRejected, match="not taken"):
        await across.end(request, Step.REVERSE_TRANSFER, CANCELLED)
    await across.ledger.receive_transfer(request)
    with pytest.raises(LedgerRejected, match="posted"):
        await across.end(request, Step.REVERSE_TRANSFER, CANCELLED)
    await across.end(request, Step.COMPLETE_TRANSFER)
    with pytest.raises(LedgerRejected):
        await across.end(request, Step.REVERSE_TRANSFER, CANCELLED)
    assert await across.posted(sender, receiver) == [600, 400]
    assert await across.wrong() == {}


async def test_what_is_received_is_what_was_sent(across: Across) -> None:
    sender, receiver = await across.pair()
    request = across.asked(sender, receiver)
    await across.send(request)
    await across.ledger.receive_transfer(request)
    with pytest.raises(IdempotencyKeyReused):
        await across.ledger.receive_transfer(replace(request, amount=Money(401, "USD")))
    await across.end(request, Step.COMPLETE_TRANSFER)


async def test_a_receipt_and_its_refusal_race_and_one_of_them_is_true(across: Across, bare_servers: Servers) -> None:
    """From two processes at once: the first outcome that is recorded is everybody's."""
    sender, receiver = await across.pair(balance=10_000)
    other = LocalLedger(settings_of(across.databases, bare_servers.settings))
    for _ in range(20):
        request = across.asked(sender, receiver, 100)
        await across.send(request)
        attempts = [
            ledger.receive_transfer(request, failure)
            for ledger in (across.ledger, other)
            for failure in (None, CANCELLED, None)
        ]
        outcomes = await asyncio.gather(*attempts)
        (decision,) = {outcome.decision for outcome in outcomes}
        if decision is POSTED:
            await across.end(request, Step.COMPLETE_TRANSFER)
        else:
            await across.end(request, Step.REVERSE_TRANSFER, CANCELLED)
    await other.aclose()
    assert sum(await across.posted(sender, receiver)) == 10_000
    assert await across.wrong() == {}


async def test_crossing_and_plain_transfers_both_ways_meet_in_the_same_groups(across: Across) -> None:
    wallets = [await across.wallet(shard, 10_000) for shard in (0, 1) for _ in range(3)]

    async def whole(number: int) -> TransactionStatus:
        source, destination = wallets[number % 6], wallets[(number * 5 + 1 + number // 6) % 6]
        if source == destination:
            destination = wallets[(number + 1) % 6]
        request = across.asked(source, destination, 10)
        begun = await across.send(request)
        if begun.status.final:
            return begun.status
        await across.ledger.receive_transfer(request)
        return (await across.end(request, Step.COMPLETE_TRANSFER)).status

    ended = asyncio.gather(*(whole(number) for number in range(300)))
    while not ended.done():
        # Invariant 7, while money is on its way in both directions.
        dues = await read_dues(across.engines)
        assert all(
            0 <= dues.owed[due] - dues.claimed[due] <= dues.moving[due]
            for due in dues.owed.keys() | dues.claimed.keys()
        )
        await asyncio.sleep(0)
    assert set(await ended) == {SUCCEEDED}
    assert sum(await across.posted(*wallets)) == 60_000
    assert (await across.wrong(), (await across.between()).note) == ({}, "")


_SPOILED = {
    "money that was sent is lost": (
        1,
        "UPDATE ledger.accounts SET balance = balance - 400 WHERE kind = 'due_from' AND balance > 0",
        {"between shards", "balances", "shard sum"},
    ),
    "a debt is forgotten": (
        0,
        "UPDATE ledger.accounts SET balance = balance - 400 WHERE kind = 'due_to' AND balance > 0",
        {"between shards", "balances", "shard sum"},
    ),
    "what was received was never sent": (
        0,
        "UPDATE ledger.transaction_steps SET step = 'settle_transfer' WHERE step = 'send_transfer'",
        {"transfers between shards", "steps in order", "timelines", "postings as ruled", "payment events", "statuses",
         "steps have postings"},
    ),
    "what was completed was never received": (
        1,
        "UPDATE ledger.transaction_steps SET step = 'nothing' WHERE step = 'receive_transfer'",
        {"transfers between shards", "steps in order", "timelines", "postings as ruled", "idempotency keys"},
    ),
    "more was received than was sent": (
        0,
        "UPDATE ledger.transactions SET amount = 399 WHERE amount = 400",
        {"transfers between shards", "postings as ruled"},
    ),
    "what was received was given back": (
        0,
        "UPDATE ledger.transactions SET status = 'failed', failure_code = 'cancelled' WHERE amount = 400",
        {"transfers between shards", "failures moved nothing", "statuses", "payment events"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", _SPOILED)
async def test_what_is_wrong_between_shards_is_found(what: str, databases: Databases, bare_servers: Servers) -> None:
    shard, sql, wanted = _SPOILED[what]
    with databases.shards(2) as pair:
        ledger = LocalLedger(settings_of(pair, bare_servers.settings))
        across = Across(ledger, Client(ledger), pair)
        request = across.asked(*await across.pair())
        await across.send(request)
        await ledger.receive_transfer(request)
        await across.end(request, Step.COMPLETE_TRANSFER)
        assert await across.wrong() == {}
        with pair[shard].connect() as connection:
            connection.execute("SET session_replication_role = replica")
            assert connection.execute(sql.encode()).rowcount > 0
        assert set(await across.wrong()) == wanted
        await ledger.aclose()
