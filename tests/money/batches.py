"""Batches as the API hands them to the ledger."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from uuid import uuid4

from domain.batches import BatchMode
from domain.contracts.payments import IdempotencyRecord, PaymentRequest
from domain.ids import BatchId, WalletId
from domain.transactions import Step, TransactionKind
from ledger.batch_records import Batch, NewBatch, NewBatchItem, outcome_of
from ledger.batches import Batches
from tests.money.requests import Client

Transfer = tuple[WalletId, int]
"""A receiver and an amount in minor units."""


def unused_key() -> IdempotencyRecord:
    """A key that nobody has used."""
    return IdempotencyRecord(key_digest=uuid4().hex, fingerprint=sha256(uuid4().bytes).hexdigest())


def new_batch(
    client: Client,
    sender: WalletId,
    transfers: Sequence[Transfer],
    mode: BatchMode = BatchMode.INDEPENDENT,
    known: Mapping[int, PaymentRequest] | None = None,
) -> NewBatch:
    """A batch of transfers in USD. `known` are items with keys of their own: those of these payments."""
    asked = [
        (known or {}).get(index) or client.request(TransactionKind.TRANSFER, amount, source=sender, destination=wallet)
        for index, (wallet, amount) in enumerate(transfers)
    ]
    return NewBatch(
        batch_id=BatchId.new(sender.bucket),
        client_id=client.client_id,
        sender_id=sender,
        currency="USD",
        mode=mode,
        effective_at=datetime.now(UTC),
        items=[_item(payment) for payment in asked],
    )


def _item(payment: PaymentRequest) -> NewBatchItem:
    assert payment.destination_wallet_id is not None
    assert payment.idempotency is not None
    return NewBatchItem(
        receiver_id=payment.destination_wallet_id,
        amount=payment.amount,
        memo=payment.memo,
        key=payment.idempotency,
        workflow_id=payment.workflow_id,
        proposed_id=payment.transaction_id,
    )


async def pay_batch(client: Client, batches: Batches, sender: WalletId, transfers: Sequence[Transfer]) -> Batch:
    """A batch paid to its end, one item after the other, as its workflow would."""
    batch, _ = await batches.accept(new_batch(client, sender, transfers), unused_key())
    for index, payment in await batches.pending(batch.batch_id, first=0, end=batch.transfers):
        result = await client.ledger.begin(payment, Step.SETTLE_TRANSFER)
        await batches.record(batch.batch_id, [outcome_of(index, result)])
    await batches.close(batch.batch_id)
    found = await batches.batch(batch.batch_id)
    assert found is not None
    return found
