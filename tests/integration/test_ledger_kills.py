"""kill -9 of whoever posts, in the middle of a group or of an atomic batch: all of it has happened, or nothing."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from domain.batches import BatchMode, BatchStatus
from domain.contracts.batches import BatchCounts
from domain.contracts.payments import PaymentRequest, StepResult
from domain.ids import TransactionId, WalletId
from domain.transactions import Step, StepDecision
from infra.settings import Settings
from ledger.batch_records import Batch
from ledger.batches import Batches
from ledger.invariants import verify
from ledger.local import LocalLedger
from tests.money.batches import new_batch, unused_key
from tests.money.payer import TOO_MUCH, group_of
from tests.money.paying import paying
from tests.money.records import Records
from tests.money.requests import Client, again
from tests.money.scratch import Database
from tests.stack.servers import Servers

LOCKING, COMMITTING = "at its locks", "after its commit was sent"
HELD_UP = {
    LOCKING: "SELECT FROM ledger.accounts WHERE account_id = '{wallet}' FOR UPDATE",
    COMMITTING: "LOCK TABLE ledger.outbox IN SHARE MODE",
}
"""What somebody else does, so that a group waits there. What it has sent by then, the database carries out."""
OPENING = 1_000_000
ROUNDS = 10
TRANSFERS = 50
MANY_TRANSFERS = 1_000


@pytest.fixture(scope="module")
def base(database: Database, bare_servers: Servers) -> Settings:
    """Settings of this module's processes."""
    return database.settings(bare_servers.settings)


@pytest.fixture
async def wallets(client: Client) -> list[WalletId]:
    """Wallets with money."""
    return [await client.open_wallet(OPENING) for _ in range(5)]


@contextmanager
def _held_up(database: Database, where: str, wallet: WalletId) -> Iterator[None]:
    """During the block nothing that concerns the wallet comes past this point."""
    with database.connect() as blocker, blocker.transaction():
        blocker.execute(HELD_UP[where].format(wallet=wallet.uuid).encode())
        yield


async def _sound(ledger: LocalLedger) -> None:
    found = await verify(ledger.shards.all[0].engine)
    assert [(finding.name, finding.violations) for finding in found if not finding.ok] == []


def _commits(records: Records, transactions: Sequence[TransactionId]) -> int:
    """By how many database transactions the steps of these were written."""
    query = "SELECT count(DISTINCT xmin::text) FROM ledger.transaction_steps WHERE transaction_id = ANY(%s)"
    return records.value(query, [transaction_id.uuid for transaction_id in transactions])


def _made(records: Records, client: Client) -> int:
    query = "SELECT count(*) FROM ledger.transactions WHERE client_id = %s AND kind = 'transfer'"
    return records.value(query, client.client_id.uuid)


async def _repeat(client: Client, group: Sequence[PaymentRequest]) -> list[StepResult]:
    """The group once more, by somebody else and at once: each key waits for what becomes of the process's."""
    results = await asyncio.gather(*(client.ledger.begin(again(each), Step.SETTLE_TRANSFER) for each in group))
    for request, result in zip(group, results, strict=True):
        paid = request.amount.minor_units != TOO_MUCH
        assert result.decision is (StepDecision.POSTED if paid else StepDecision.REFUSED)
    return results


def _moved(group: Sequence[PaymentRequest], wallet: WalletId) -> int:
    """What the group brings to a wallet, and takes from it."""
    paid = [request for request in group if request.amount.minor_units != TOO_MUCH]
    arrived = sum(request.amount.minor_units for request in paid if request.destination_wallet_id == wallet)
    return arrived - sum(request.amount.minor_units for request in paid if request.source_wallet_id == wallet)


async def _demand_paid_once(client: Client, wallets: Sequence[WalletId], asked: Sequence[PaymentRequest]) -> None:
    """Every wallet has what it must have if each of these was decided once."""
    for wallet in wallets:
        assert await client.money(wallet) == (OPENING + _moved(asked, wallet), 0)


@pytest.mark.parametrize("where", [LOCKING, COMMITTING])
async def test_a_group_whose_process_is_killed_has_happened_as_a_whole_or_not_at_all(
    where: str,
    client: Client,
    wallets: list[WalletId],
    base: Settings,
    database: Database,
    records: Records,
    tmp_path: Path,
) -> None:
    group = group_of(client, "life", 0, wallets)
    with paying(tmp_path, base, "groups", "life", client.client_id, *wallets) as payer:
        with _held_up(database, where, wallets[0]):
            await payer.reaches("its first group waits", lambda: records.waiting() > 0)
            payer.kill()
        results = await _repeat(client, group)
        assert payer.told == {}
    # A group that was yet to be written is gone with its process; a commit that was sent needs nobody any more.
    assert {result.replayed for result in results} == {where == COMMITTING}
    assert _commits(records, [result.transaction_id for result in results]) == 1
    assert _made(records, client) == len(group)
    await _demand_paid_once(client, wallets, group)


@pytest.mark.slow
async def test_killed_again_and_again_at_random_moments_it_has_paid_what_it_was_told_and_everything_once(
    client: Client, wallets: list[WalletId], base: Settings, records: Records, ledger: LocalLedger, tmp_path: Path
) -> None:
    chance, everything = random.Random(20261122), list[PaymentRequest]()
    for life in map(str, range(ROUNDS)):
        with paying(tmp_path, base, "groups", life, client.client_id, *wallets) as payer:
            await payer.reaches("it pays", lambda: len(payer.told) > 0)
            await asyncio.sleep(chance.uniform(0, 0.4))
            payer.kill()
            told = payer.told
        last = max(number for number, _ in told) + 1
        for number in range(last + 1):
            group = group_of(client, life, number, wallets)
            results = await _repeat(client, group)
            everything += group
            assert len({result.replayed for result in results}) == 1, "a group is whole"
            assert results[0].replayed or number == last, "one after the other"
            assert _commits(records, [result.transaction_id for result in results]) == 1
            was_told = {nth: said for (of, nth), said in told.items() if of == number}
            assert {nth: (results[nth].transaction_id, results[nth].decision) for nth in was_told} == was_told
    assert _made(records, client) == len(everything)
    await _demand_paid_once(client, wallets, everything)
    await _sound(ledger)


async def _accepted(client: Client, batches: Batches, sender: WalletId, receiver: WalletId, transfers: int) -> Batch:
    """An atomic batch that nobody has paid yet."""
    new = new_batch(client, sender, [(receiver, 1)] * transfers, BatchMode.ATOMIC)
    batch, _ = await batches.accept(new, unused_key())
    return batch


def _after_its_process(records: Records, batch: Batch) -> tuple[object, int]:
    """Its status, and how many of its transfers are made, when the session that was paying it is over."""
    status = "SELECT status FROM ledger.transfer_batches WHERE batch_id = %s FOR UPDATE"
    ((found,),) = records.rows(status, batch.batch_id.uuid)
    return found, records.value(
        """SELECT count(*) FROM ledger.transactions t JOIN ledger.transfer_batch_items i
        ON i.proposed_id = t.transaction_id WHERE i.batch_id = %s""",
        batch.batch_id.uuid,
    )


async def _resume(client: Client, batches: Batches, batch: Batch) -> None:
    """What its workflow does next, and once more."""
    for _ in range(2):
        await client.ledger.settle_batch(batch.batch_id)
    found = await batches.batch(batch.batch_id)
    assert found is not None
    assert (found.status, found.counts) == (BatchStatus.COMPLETED, BatchCounts(succeeded=batch.transfers))


@pytest.mark.parametrize("where", [LOCKING, pytest.param(COMMITTING, marks=pytest.mark.slow)])
async def test_an_atomic_batch_whose_process_is_killed_is_paid_as_a_whole_and_once(
    where: str,
    client: Client,
    ledger: LocalLedger,
    base: Settings,
    database: Database,
    records: Records,
    tmp_path: Path,
) -> None:
    batches, sender, receiver = Batches(ledger.shards), await client.open_wallet(OPENING), await client.open_wallet()
    batch = await _accepted(client, batches, sender, receiver, TRANSFERS)
    with paying(tmp_path, base, "batch", batch.batch_id) as payer:
        with _held_up(database, where, receiver):
            await payer.reaches("it waits", lambda: records.waiting() > 0)
            payer.kill()
        assert _after_its_process(records, batch) == (
            (BatchStatus.COMPLETED, TRANSFERS) if where == COMMITTING else (BatchStatus.ACCEPTED, 0)
        )
    await _resume(client, batches, batch)
    assert (await client.money(sender), await client.money(receiver)) == ((OPENING - TRANSFERS, 0), (TRANSFERS, 0))


@pytest.mark.slow
async def test_killed_at_any_moment_of_a_large_atomic_batch_all_of_it_is_paid_or_nothing(
    client: Client, ledger: LocalLedger, base: Settings, records: Records, tmp_path: Path
) -> None:
    batches, sender, receiver = Batches(ledger.shards), await client.open_wallet(OPENING), await client.open_wallet()
    chance, seen = random.Random(20261122), set[tuple[object, int]]()
    for _ in range(ROUNDS):
        batch = await _accepted(client, batches, sender, receiver, MANY_TRANSFERS)
        with paying(tmp_path, base, "batch", batch.batch_id) as payer:
            await payer.reaches("it has begun", lambda: True)
            await asyncio.sleep(chance.uniform(0, 1))
            payer.kill()
        seen.add(_after_its_process(records, batch))
        await _resume(client, batches, batch)
    assert seen <= {(BatchStatus.ACCEPTED, 0), (BatchStatus.COMPLETED, MANY_TRANSFERS)}
    paid = ROUNDS * MANY_TRANSFERS
    assert (await client.money(sender), await client.money(receiver)) == ((OPENING - paid, 0), (paid, 0))
    await _sound(ledger)
