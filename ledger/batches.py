"""Transfer batches as recorded, on the shard of the wallet that pays.

A batch, its items and its idempotency key are one commit; so is what becomes of a slice of its items, and an atomic
batch as a whole: there alone money moves here, decided as everywhere by `ledger/posting.py`. Everything may be
repeated: what is recorded first stays. Every method raises LedgerUnavailable when the database does not answer.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.batches import BatchItemStatus, BatchStatus
from domain.contracts.batches import BatchCounts
from domain.contracts.payments import IdempotencyRecord, PaymentRequest
from domain.errors import IdempotencyKeyReused
from domain.ids import BatchId, WalletId
from domain.transactions import Step
from infra.database import Pipeline, pipelined, reading, transaction
from ledger import posting
from ledger.accounts import SystemAccount, SystemAccountsMissing
from ledger.batch_records import (
    Batch,
    BatchItem,
    ItemOutcome,
    NewBatch,
    batch_of,
    counts_of,
    item_of,
    outcome_of,
    payment_of,
)
from ledger.shards import Shard, Shards
from ledger.work import Begin

SETTLE_TIMEOUT_SECONDS: Final = 120
"""A statement about all of an atomic batch may take longer than others, which are about one group."""

_PAGE: Final = 100
_BEFORE_ALL: Final = UUID(int=0)


_CLAIM: Final = text("""
    INSERT INTO ledger.idempotency_keys (key_digest, fingerprint, transaction_id)
    VALUES (:key_digest, :fingerprint, :batch_id) ON CONFLICT (key_digest) DO NOTHING RETURNING transaction_id
""")
_CLAIMED: Final = text("""
    SELECT transaction_id AS batch_id, encode(fingerprint, 'hex') AS fingerprint
    FROM ledger.idempotency_keys WHERE key_digest = :key_digest
""")
_ADD_BATCH: Final = text("""
    INSERT INTO ledger.transfer_batches
        (batch_id, client_id, source_wallet_id, currency, mode, transfers, effective_at)
    VALUES (:batch_id, :client_id, :source_wallet_id, :currency, :mode, :transfers, :effective_at)
""")
_ADD_ITEMS: Final = text("""
    INSERT INTO ledger.transfer_batch_items
        (batch_id, item_index, destination_wallet_id, amount, memo, key_digest, fingerprint, workflow_id, proposed_id)
    SELECT :batch_id, i.item_index, i.destination_wallet_id, i.amount, i.memo, decode(i.key_digest, 'hex'),
           decode(i.fingerprint, 'hex'), i.workflow_id, i.proposed_id
    FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS i(item_index integer, destination_wallet_id uuid, amount bigint,
         memo text, key_digest text, fingerprint text, workflow_id text, proposed_id uuid)
""")
_COUNTS: Final = """
    SELECT count(*) FILTER (WHERE i.status = 'pending') AS pending,
           count(*) FILTER (WHERE i.status = 'processing') AS processing,
           count(*) FILTER (WHERE i.status = 'succeeded') AS succeeded,
           count(*) FILTER (WHERE i.status = 'failed') AS failed
    FROM ledger.transfer_batch_items i
"""
_BATCH: Final = text(f"""
    SELECT b.*, n.* FROM ledger.transfer_batches b, LATERAL ({_COUNTS} WHERE i.batch_id = b.batch_id) n
    WHERE b.batch_id = :batch_id
""")  # noqa: S608
_OPEN: Final = text(f"""
    SELECT b.*, n.* FROM ledger.transfer_batches b, LATERAL ({_COUNTS} WHERE i.batch_id = b.batch_id) n
    WHERE b.status IN ('accepted', 'processing') AND b.batch_id > :after
      AND b.created_at < now() - make_interval(secs => :seconds)
    ORDER BY b.batch_id LIMIT :limit
""")  # noqa: S608
_ITEMS: Final = text("""
    SELECT i.*, b.currency FROM ledger.transfer_batch_items i JOIN ledger.transfer_batches b USING (batch_id)
    WHERE i.batch_id = :batch_id AND i.item_index >= :first AND (CAST(:status AS text) IS NULL OR i.status = :status)
    ORDER BY i.item_index LIMIT :limit
""")
_PENDING: Final = """
    SELECT i.item_index, i.destination_wallet_id, i.amount, i.memo, encode(i.key_digest, 'hex') AS key_digest,
           encode(i.fingerprint, 'hex') AS fingerprint, i.workflow_id, i.proposed_id,
           b.client_id, b.source_wallet_id, b.currency, b.effective_at
    FROM ledger.transfer_batch_items i JOIN ledger.transfer_batches b USING (batch_id)
    WHERE i.batch_id = %(batch_id)s::uuid AND i.item_index >= %(first)s::integer AND i.item_index < %(end)s::integer
      AND i.status = 'pending'
    ORDER BY i.item_index
"""
_UNDER_WAY: Final = text("""
    UPDATE ledger.transfer_batches SET status = 'processing' WHERE batch_id = :batch_id AND status = 'accepted'
""")
# `told` carries the batch's id in its rows: compared with a constant, the planner, which knows nothing yet of what was
# stored a moment ago, takes a batch for a handful of items, and reads all of them for each that is told.
# What is not pending any more was recorded before, by a run that nobody heard from again.
_RECORD: Final = text("""
    WITH told AS MATERIALIZED (
        SELECT CAST(:batch_id AS uuid) AS batch_id, o.*
        FROM jsonb_to_recordset(CAST(:outcomes AS jsonb)) AS o(
             item_index integer, status text, transaction_id uuid, failure_code text, failure_detail text)
    )
    UPDATE ledger.transfer_batch_items i
    SET status = o.status, transaction_id = o.transaction_id, failure_code = o.failure_code,
        failure_detail = o.failure_detail
    FROM told o
    WHERE i.batch_id = o.batch_id AND i.item_index = o.item_index AND i.status = 'pending'
""")
# For the driver, as all that goes out together with a group of steps.
_PATIENCE: Final = "SELECT set_config('statement_timeout', %(seconds)s::integer || 's', true)"
_LOCK_OPEN: Final = """
    SELECT transfers FROM ledger.transfer_batches
    WHERE batch_id = %(batch_id)s::uuid AND status IN ('accepted', 'processing') FOR NO KEY UPDATE
"""
_SETTLE: Final = """
    WITH told AS MATERIALIZED (
        SELECT %(batch_id)s::uuid AS batch_id, o.*
        FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS o(
             item_index integer, status text, transaction_id uuid, failure_code text, failure_detail text)
    ),
    item AS (
        UPDATE ledger.transfer_batch_items i
        SET status = o.status, transaction_id = o.transaction_id, failure_code = o.failure_code,
            failure_detail = o.failure_detail
        FROM told o
        WHERE i.batch_id = o.batch_id AND i.item_index = o.item_index
    )
    UPDATE ledger.transfer_batches
    SET status = %(status)s, failed_index = %(failed_index)s::integer, failure_code = %(failure_code)s,
        failure_detail = %(failure_detail)s, completed_at = clock_timestamp()
    WHERE batch_id = %(batch_id)s::uuid
"""
_LOCK: Final = text("SELECT status FROM ledger.transfer_batches WHERE batch_id = :batch_id FOR NO KEY UPDATE")
_FOLLOW: Final = text("""
    UPDATE ledger.transfer_batch_items i
    SET status = CASE t.status WHEN 'failed' THEN 'failed' ELSE 'succeeded' END,
        failure_code = t.failure_code, failure_detail = t.failure_detail
    FROM ledger.transactions t
    WHERE i.batch_id = :batch_id AND i.status = 'processing' AND t.transaction_id = i.transaction_id
      AND t.completed_at IS NOT NULL
""")
_COUNT: Final = text(f"{_COUNTS} WHERE i.batch_id = :batch_id")
_COMPLETE: Final = text("""
    UPDATE ledger.transfer_batches SET status = 'completed', completed_at = clock_timestamp()
    WHERE batch_id = :batch_id AND status IN ('accepted', 'processing')
""")


class Batches:
    """Keeps batches on the databases behind `shards`."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def accept(self, new: NewBatch, key: IdempotencyRecord) -> tuple[Batch, bool]:
        """Record a batch under its key; True says that it was there. Raises IdempotencyKeyReused."""
        async with transaction(self._shards.of(new.batch_id).engine) as connection:
            claim = {
                "key_digest": bytes.fromhex(key.key_digest),
                "fingerprint": bytes.fromhex(key.fingerprint),
                "batch_id": new.batch_id.uuid,
            }
            # Waits for whoever uses the same key right now.
            if (await connection.execute(_CLAIM, claim)).first() is None:
                known = await _recorded_under(connection, key)
                assert known is not None, "the key was there a moment ago"
                return known, True
            await _add(connection, new)
            added = await _find(connection, new.batch_id)
            assert added is not None, "it was added a moment ago"
            return added, False

    async def find(self, key: IdempotencyRecord, near: WalletId) -> Batch | None:
        """The batch under a key that is scoped to the wallet `near`. Raises IdempotencyKeyReused."""
        async with reading(self._shards.of(near).engine) as connection:
            return await _recorded_under(connection, key)

    async def batch(self, batch_id: BatchId) -> Batch | None:
        """One batch."""
        async with reading(self._shards.of(batch_id).engine) as connection:
            return await _find(connection, batch_id)

    async def items(
        self, batch_id: BatchId, *, first: int, limit: int, status: BatchItemStatus | None = None
    ) -> Sequence[BatchItem]:
        """A page of a batch's items in their order, those with an index of at least `first`."""
        wanted = {"batch_id": batch_id.uuid, "first": first, "limit": limit, "status": status}
        async with reading(self._shards.of(batch_id).engine) as connection:
            return [item_of(row) for row in await connection.execute(_ITEMS, wanted)]

    def open_batches(self, *, older_than_seconds: float) -> AsyncIterator[Batch]:
        """Every batch that is not final and older than that, read in pages, oldest first on each shard.

        A shard that does not answer is left out, unless none does.
        """
        return self._shards.gathered(lambda shard: _open_on(shard, older_than_seconds))

    async def pending(self, batch_id: BatchId, *, first: int, end: int) -> Sequence[tuple[int, PaymentRequest]]:
        """What is yet to be begun of the items from `first` up to, but not with, `end`: index and payment."""
        async with pipelined(self._shards.of(batch_id).engine) as pipeline:
            return await _pending(pipeline, batch_id, first, end)

    async def settle(self, batch_id: BatchId) -> None:
        """Pay all transfers of an atomic batch or none, once, with the decision in the same commit.

        Raises LedgerRejected for what is never right; then nothing is recorded.
        """
        also: set[SystemAccount] = set()
        while True:
            try:
                return await self._settle(batch_id, also)
            except SystemAccountsMissing as missing:
                await posting.open_accounts(self._shards.of(batch_id).engine, missing.accounts)
                also.update(missing.accounts)

    async def _settle(self, batch_id: BatchId, also: Collection[SystemAccount]) -> None:
        async with pipelined(self._shards.of(batch_id).engine) as pipeline:
            _, locked = await pipeline.run(
                (_PATIENCE, {"seconds": SETTLE_TIMEOUT_SECONDS}), (_LOCK_OPEN, {"batch_id": str(batch_id.uuid)})
            )
            if not locked:
                return
            items = await _pending(pipeline, batch_id, 0, locked[0].transfers)
            works = [Begin(payment, Step.SETTLE_TRANSFER) for _, payment in items]
            together = await posting.decide_together(pipeline, works, also)
            outcomes = [outcome_of(index, answer) for (index, _), answer in zip(items, together.answers, strict=True)]
            settled = (_SETTLE, _decision(batch_id, outcomes, together.refused))
            await pipeline.run_and_commit(*([together.writing.statement()] if together.writing else []), settled)

    async def record(self, batch_id: BatchId, outcomes: Sequence[ItemOutcome]) -> None:
        """Record what became of items. What was recorded before stays as it is."""
        async with transaction(self._shards.of(batch_id).engine) as connection:
            key = {"batch_id": batch_id.uuid}
            await connection.execute(_UNDER_WAY, key)
            await connection.execute(_RECORD, key | {"outcomes": _rows_of(outcomes)})

    async def close(self, batch_id: BatchId) -> BatchCounts:
        """Read from their transactions how the items under way have ended; with the last one the batch is completed."""
        key = {"batch_id": batch_id.uuid}
        async with transaction(self._shards.of(batch_id).engine) as connection:
            await connection.execute(_LOCK, key)
            await connection.execute(_FOLLOW, key)
            counts = counts_of((await connection.execute(_COUNT, key)).one())
            if not counts.unfinished:
                await connection.execute(_COMPLETE, key)
            return counts

    async def aclose(self) -> None:
        """Let go of all connections."""
        await self._shards.aclose()


async def _pending(pipeline: Pipeline, batch_id: BatchId, first: int, end: int) -> Sequence[tuple[int, PaymentRequest]]:
    (rows,) = await pipeline.run((_PENDING, {"batch_id": str(batch_id.uuid), "first": first, "end": end}))
    return [(row.item_index, payment_of(row)) for row in rows]


def _rows_of(outcomes: Sequence[ItemOutcome]) -> str:
    rows = [
        {
            "item_index": outcome.index,
            "status": outcome.status,
            "transaction_id": outcome.transaction_id and outcome.transaction_id.uuid,
            "failure_code": outcome.failure and outcome.failure.code,
            "failure_detail": outcome.failure and outcome.failure.detail,
        }
        for outcome in outcomes
    ]
    return orjson.dumps(rows).decode()


def _decision(batch_id: BatchId, outcomes: Sequence[ItemOutcome], refused: int | None) -> dict[str, object]:
    because = outcomes[refused] if refused is not None else None
    return {
        "batch_id": str(batch_id.uuid),
        "outcomes": _rows_of(outcomes),
        "status": BatchStatus.COMPLETED if because is None else BatchStatus.FAILED,
        "failed_index": because and because.index,
        "failure_code": because and because.failure and because.failure.code,
        "failure_detail": because and because.failure and because.failure.detail,
    }


async def _recorded_under(connection: AsyncConnection, key: IdempotencyRecord) -> Batch | None:
    row = (await connection.execute(_CLAIMED, {"key_digest": bytes.fromhex(key.key_digest)})).first()
    if row is None:
        return None
    if row.fingerprint != key.fingerprint:
        raise IdempotencyKeyReused
    # The route is part of the fingerprint, so what is recorded under it is a batch.
    return await _find(connection, BatchId.of(row.batch_id))


async def _find(connection: AsyncConnection, batch_id: BatchId) -> Batch | None:
    row = (await connection.execute(_BATCH, {"batch_id": batch_id.uuid})).first()
    return batch_of(row) if row else None


async def _add(connection: AsyncConnection, new: NewBatch) -> None:
    parameters = {
        "batch_id": new.batch_id.uuid,
        "client_id": new.client_id.uuid,
        "source_wallet_id": new.sender_id.uuid,
        "currency": new.currency,
        "mode": new.mode,
        "transfers": len(new.items),
        "effective_at": new.effective_at,
    }
    rows = [
        {
            "item_index": index,
            "destination_wallet_id": item.receiver_id.uuid,
            "amount": item.amount.minor_units,
            "memo": item.memo,
            "key_digest": item.key.key_digest,
            "fingerprint": item.key.fingerprint,
            "workflow_id": item.workflow_id,
            "proposed_id": item.proposed_id.uuid,
        }
        for index, item in enumerate(new.items)
    ]
    await connection.execute(_ADD_BATCH, parameters)
    await connection.execute(_ADD_ITEMS, {"batch_id": new.batch_id.uuid, "items": orjson.dumps(rows).decode()})


async def _open_on(shard: Shard, older_than_seconds: float) -> AsyncIterator[Batch]:
    after = _BEFORE_ALL
    while True:
        wanted = {"seconds": older_than_seconds, "after": after, "limit": _PAGE}
        async with reading(shard.engine) as connection:
            page = [batch_of(row) for row in await connection.execute(_OPEN, wanted)]
        for found in page:
            yield found
        if len(page) < _PAGE:
            break
        after = page[-1].batch_id.uuid
