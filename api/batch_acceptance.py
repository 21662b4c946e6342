"""Accepting a batch of transfers: all of it is checked, then stored in one commit, then its workflow is started.

The batch is recorded before anybody is told of it. Where Temporal does not answer, the sweeper starts the workflow.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from temporalio.service import RPCError

from api.idempotency import ScopedKey, Shortcut, fingerprint_of, item_key, record_of
from api.parties import Parties
from api.problems import FieldProblem, WrongFields
from api.schemas import TransferBatchBody
from api.temporal_link import TemporalLink
from domain.batches import BatchMode
from domain.clock import Clock
from domain.contracts.batches import BatchRequest
from domain.contracts.payments import IdempotencyRecord
from domain.contracts.workflows import payment_workflow_id
from domain.errors import DuplicateItemKey, NotFound, NotOnOneShard, SagapayError, SelfTransfer, WorkflowsUnavailable
from domain.ids import BatchId, ClientId, TransactionId, WalletId
from domain.money import Money
from infra.batches import start_batch
from ledger.batch_records import Batch, NewBatch, NewBatchItem
from ledger.batches import Batches
from ledger.shards import Shards

BATCHES: Final = "/v1/transfer-batches"
TRANSFERS: Final = "/v1/transfers"

log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """The answer to a POST of a batch."""

    batch: Batch
    replayed: bool


class BatchAcceptance:
    """Accepts batches."""

    def __init__(
        self,
        batches: Batches,
        parties: Parties,
        shards: Shards,
        shortcut: Shortcut,
        link: TemporalLink,
        *,
        clock: Clock,
    ) -> None:
        self._batches = batches
        self._parties = parties
        self._shards = shards
        self._shortcut = shortcut
        self._link = link
        self._clock = clock

    async def accept(self, client_id: ClientId, key: str, body: TransferBatchBody) -> AcceptedBatch:
        """The recorded batch. Raises WrongFields, NotFound, IdempotencyKeyReused and LedgerUnavailable."""
        (sender,) = await self._parties.resolve(client_id, body.sender_id)
        scoped = ScopedKey(client_id, sender.wallet_id, key)
        fingerprint = await asyncio.to_thread(fingerprint_of, BATCHES, body)
        record = record_of(client_id, sender.wallet_id, key, fingerprint)
        known = await self._batches.find(record, near=sender.wallet_id)
        if known is not None:
            return AcceptedBatch(await self._started(known), replayed=True)
        receivers = await self._receivers(client_id, sender.wallet_id, body)
        demand_own_keys(key, body)
        await self._shortcut.demand_wallet(scoped)
        new = await asyncio.to_thread(self._new_batch, scoped, receivers, body)
        batch, replayed = await self._batches.accept(new, record)
        return AcceptedBatch(await self._started(batch), replayed)

    async def _receivers(self, client_id: ClientId, sender: WalletId, body: TransferBatchBody) -> list[WalletId]:
        ids = [transfer.receiver_id for transfer in body.transfers]
        parties = await self._parties.find(client_id, ids)
        unknown = [index for index, party in enumerate(parties) if party is None]
        refuse(NotFound, "receiver_id", unknown, lambda index: f"There is no {ids[index]} for this client.")
        receivers = [party.wallet_id for party in parties if party is not None]
        itself = [index for index, wallet_id in enumerate(receivers) if wallet_id == sender]
        refuse(SelfTransfer, "receiver_id", itself, lambda _: "Sender and receiver are the same wallet.")
        if body.mode is BatchMode.ATOMIC:
            home = self._shards.number_of(sender)
            away = [index for index, wallet_id in enumerate(receivers) if self._shards.number_of(wallet_id) != home]
            refuse(NotOnOneShard, "receiver_id", away, lambda index: f"{ids[index]} is on another shard.")
        return receivers

    def _new_batch(self, scoped: ScopedKey, receivers: Sequence[WalletId], body: TransferBatchBody) -> NewBatch:
        batch_id = BatchId.new(scoped.wallet_id.bucket)
        return NewBatch(
            batch_id=batch_id,
            client_id=scoped.client_id,
            sender_id=scoped.wallet_id,
            currency=body.currency,
            mode=body.mode,
            effective_at=self._clock.now(),
            items=[new_item(scoped, batch_id, index, receiver_id, body) for index, receiver_id in enumerate(receivers)],
        )

    async def _started(self, batch: Batch) -> Batch:
        """The batch, whose workflow runs if it has anything left to do and Temporal answers."""
        if not batch.status.final:
            request = BatchRequest(batch_id=batch.batch_id, mode=batch.mode, transfers=batch.transfers)
            try:
                await start_batch(self._link.client, request, batch.client_id)
            except (WorkflowsUnavailable, RPCError, RuntimeError) as error:
                log.warning("temporal.refused", error=str(error), workflow_kind="transfer_batch")
        return batch


def new_item(
    scoped: ScopedKey, batch_id: BatchId, index: int, receiver_id: WalletId, body: TransferBatchBody
) -> NewBatchItem:
    """A transfer of a batch, recorded under the same key and fingerprint as a `POST /v1/transfers` of its own."""
    own = body.transfers[index].idempotency_key
    key = own if own is not None else item_key(batch_id, index)
    transfer = body.transfer(index)
    return NewBatchItem(
        receiver_id=receiver_id,
        amount=Money(transfer.amount, transfer.currency),
        memo=transfer.memo,
        key=_record(scoped, key, fingerprint_of(TRANSFERS, transfer)),
        workflow_id=payment_workflow_id(scoped.client_id, scoped.wallet_id, key),
        proposed_id=TransactionId.new(batch_id.bucket),
    )


def _record(scoped: ScopedKey, key: str, fingerprint: str) -> IdempotencyRecord:
    return record_of(scoped.client_id, scoped.wallet_id, key, fingerprint)


def demand_own_keys(key: str, body: TransferBatchBody) -> None:
    """Raises WrongFields where a transfer's key is another's, or the batch's own."""
    seen, twice = {key}, []
    for index, transfer in enumerate(body.transfers):
        if transfer.idempotency_key in seen:
            twice.append(index)
        elif transfer.idempotency_key is not None:
            seen.add(transfer.idempotency_key)
    refuse(DuplicateItemKey, "idempotency_key", twice, lambda _: "This batch has the same key elsewhere.")


def refuse(kind: type[SagapayError], field: str, indices: Sequence[int], detail: Callable[[int], str]) -> None:
    """Raises WrongFields for a field of the transfers at `indices`, if there are any."""
    if indices:
        wrong = [
            FieldProblem(field=f"transfers.{index}.{field}", code=kind.code, detail=detail(index)) for index in indices
        ]
        raise WrongFields(kind, wrong)
