"""Atomic batches in the ledger: all of their transfers in one commit, or none and why."""

import pytest

from domain.batches import BatchMode
from domain.contracts.payments import PaymentRequest
from domain.errors import LedgerRejected
from domain.ids import BatchId, WalletId
from domain.transactions import Step, TransactionKind, TransactionStatus
from ledger.batch_records import Batch
from ledger.batches import Batches
from ledger.local import LocalLedger
from tests.money.batches import Transfer, new_batch, unused_key
from tests.money.requests import Client


@pytest.fixture
def batches(ledger: LocalLedger) -> Batches:
    """On the same databases."""
    return Batches(ledger.shards)


async def _accepted(
    client: Client,
    batches: Batches,
    sender: WalletId,
    transfers: list[Transfer],
    known: dict[int, PaymentRequest] | None = None,
) -> BatchId:
    batch, _ = await batches.accept(new_batch(client, sender, transfers, BatchMode.ATOMIC, known), unused_key())
    return batch.batch_id


async def _standing(batches: Batches, batch_id: BatchId) -> Batch:
    found = await batches.batch(batch_id)
    assert found is not None
    return found


async def test_receivers_who_owe_are_collected_from_in_the_batchs_commit(
    client: Client, ledger: LocalLedger, batches: Batches
) -> None:
    sender, owing, other = await client.open_wallet(1_000), await client.open_wallet(), await client.open_wallet()
    deposit = await client.deposit(owing, 300)
    await client.transfer(owing, other, 300)
    await client.take_back(deposit, Step.RETURN_DEPOSIT)
    batch_id = await _accepted(client, batches, sender, [(owing, 100), (other, 50), (owing, 250)])
    await ledger.settle_batch(batch_id)
    assert (await _standing(batches, batch_id)).failure is None
    paid = await client.wallet(owing)
    assert (paid.posted, paid.owed) == (50, 0)
    assert await client.money(sender) == (600, 0)


async def test_one_that_was_paid_under_its_key_before_stays_paid_when_the_batch_is_not(
    client: Client, ledger: LocalLedger, batches: Batches
) -> None:
    sender, receiver = await client.open_wallet(1_000), await client.open_wallet()
    before = client.request(TransactionKind.TRANSFER, 100, source=sender, destination=receiver)
    paid = await client.ledger.begin(before, Step.SETTLE_TRANSFER)
    batch_id = await _accepted(client, batches, sender, [(receiver, 100), (receiver, 5_000)], {0: before})
    await ledger.settle_batch(batch_id)
    assert await client.money(sender) == (900, 0)
    kept = await ledger.transaction(paid.transaction_id)
    assert kept is not None
    assert kept.status is TransactionStatus.SUCCEEDED
    first, second = await batches.items(batch_id, first=0, limit=10)
    assert first.transaction_id == paid.transaction_id
    assert second.failure is not None
    assert second.failure.code == "insufficient_funds"


async def test_a_receiver_that_does_not_exist_is_nobodys_decision(
    client: Client, ledger: LocalLedger, batches: Batches
) -> None:
    sender = await client.open_wallet(1_000)
    nobody = WalletId.new(sender.bucket)
    batch_id = await _accepted(client, batches, sender, [(await client.open_wallet(), 10), (nobody, 10)])
    with pytest.raises(LedgerRejected, match=str(nobody)):
        await ledger.settle_batch(batch_id)
    assert await client.money(sender) == (1_000, 0)
    assert (await _standing(batches, batch_id)).status.final is False
