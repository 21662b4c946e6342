"""The ledger's service in the caller's own process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import text

from domain.clock import Clock
from domain.contracts.holds import HoldRequest
from domain.contracts.operators import ActionClaim, AttentionFilter, NewAction, OperatorAction
from domain.contracts.payments import CONTRADICTION, Attention, Failure, PaymentRequest, StepCommand, StepResult
from domain.contracts.suspense import Clearing, NewSuspenseItem, SuspenseItem
from domain.contracts.wallets import WalletChange
from domain.contracts.write_offs import NewWriteOff, WriteOff
from domain.errors import LedgerRejected, LedgerUnavailable, NotFound
from domain.events import (
    TRANSACTIONS_TOPIC,
    TransactionAttentionClearedEvent,
    TransactionAttentionRaisedEvent,
    TransactionEvent,
    WalletOpenedEvent,
)
from domain.holds import HoldStatus
from domain.ids import ActionId, BatchId, ClientId, HoldId, TransactionId, UserId, WalletId, new_uuid
from domain.transactions import Step, StepDecision
from infra.clock import business_clock
from infra.database import reading, transaction
from infra.settings import Settings
from ledger import operator_actions, queries, statements
from ledger.batches import Batches
from ledger.received import Received
from ledger.records import told_of
from ledger.rules import RULES
from ledger.service import AcceptedHold, ChangedWallet, Entry, Hold, RecordedKey, TimelineItem, Transaction, Wallet
from ledger.shards import Shard, Shards
from ledger.suspense import Suspense
from ledger.telling import tell
from ledger.wallet_changes import change_wallet, tell_of_wallet
from ledger.work import Begin, EndHold, PlaceHold, Receive, Take
from ledger.write_offs import WriteOffs
from ledger.writers import Writers

_OPEN_WALLET = text("""
    INSERT INTO ledger.accounts
        (account_id, kind, user_id, client_id, currency, floor, limit_per_transaction, limit_daily)
    VALUES (:wallet_id, 'wallet', :user_id, :client_id, :currency, 0, :per_transaction, :daily)
    ON CONFLICT (account_id) DO NOTHING
    RETURNING created_at
""")

_ENDS_A_TRANSFER: Final = {
    Step.COMPLETE_TRANSFER: StepDecision.POSTED,
    Step.REVERSE_TRANSFER: StepDecision.REFUSED,
}
_PAGE: Final = 500
_BEFORE_ALL: Final = UUID(int=0)


class LocalLedger:
    """Implements `ledger.service.LedgerService` on the databases that the settings name."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.shards = Shards(settings)
        self._clock = clock or business_clock(settings)
        self._default_limits = settings.default_limits()
        self._deposit_terms = settings.deposit_terms()
        self._received = Received(self.shards)
        self._suspense = Suspense(self.shards, self._clock)
        self._write_offs = WriteOffs(self.shards, self._clock)
        self._writers = [
            Writers(
                shard.engine,
                shards=len(self.shards.all),
                writers=settings.ledger_writers,
                group_size=settings.ledger_group_size,
                queue_size=settings.ledger_queue_size,
            )
            for shard in self.shards.all
        ]

    async def begin(self, request: PaymentRequest, step: Step) -> StepResult:
        """See LedgerService."""
        shard = self.shards.of(request.transaction_id)
        if step in (Step.SETTLE_TRANSFER, Step.CAPTURE_HOLD) and self._crosses(request):
            step = Step.SEND_TRANSFER
        if request.idempotency is not None:
            return await self._writers[shard.number].post(Begin(request, step))
        async with reading(shard.engine) as connection:
            return await queries.find_first_outcome(connection, request.transaction_id, step)

    def _crosses(self, request: PaymentRequest) -> bool:
        assert request.destination_wallet_id is not None, "a transfer has a receiver"
        return self.shards.of(request.destination_wallet_id) is not self.shards.of(request.transaction_id)

    async def receive_transfer(self, request: PaymentRequest, failure: Failure | None = None) -> StepResult:
        """See LedgerService."""
        assert request.destination_wallet_id is not None, "a transfer has a receiver"
        shard = self.shards.of(request.destination_wallet_id)
        return await self._writers[shard.number].post(Receive(request, failure, self._clock.now()))

    async def take_step(self, command: StepCommand) -> StepResult:
        """See LedgerService."""
        shard = self.shards.of(command.transaction_id)
        if RULES[command.step].elsewhere:
            raise LedgerRejected(f"{command.step} is not taken where the payment is recorded")
        if (received_as := _ENDS_A_TRANSFER.get(command.step)) is not None:
            await self._demand_received(command, received_as)
        return await self._writers[shard.number].post(Take(command, self._clock.now(), self._deposit_terms))

    async def settle_batch(self, batch_id: BatchId) -> None:
        """See LedgerService. A group of its own, beside the writers': it is large already."""
        await Batches(self.shards).settle(batch_id)

    async def _demand_received(self, command: StepCommand, wanted: StepDecision) -> None:
        """A transfer ends as its receiver's shard has recorded, and not before: the money is here or there."""
        received = await self._received.outcome(command.transaction_id)
        if received is not wanted:
            found = f"{Step.RECEIVE_TRANSFER} is {received or 'not taken'}"
            raise LedgerRejected(f"{command.step} wants {Step.RECEIVE_TRANSFER} to be {wanted}, but {found}")

    async def place_hold(self, request: HoldRequest) -> AcceptedHold:
        """See LedgerService."""
        shard = self.shards.of(request.hold_id)
        placed = await self._writers[shard.number].post(PlaceHold(request))
        if placed.hold is not None:
            return AcceptedHold(hold=placed.hold, replayed=False)
        recorded = await self.hold(placed.hold_id)
        assert recorded is not None, f"{placed.hold_id} has a key"
        return AcceptedHold(hold=recorded, replayed=True)

    async def release_hold(self, hold_id: HoldId) -> Hold:
        """See LedgerService."""
        found = await self.hold(hold_id)
        if found is None:
            raise NotFound(f"There is no hold {hold_id}.")
        release = EndHold(hold_id, found.wallet_id, HoldStatus.RELEASED, self._clock.now())
        return await self._writers[self.shards.number_of(hold_id)].post(release)

    async def expire_holds(self, limit: int) -> int:
        """See LedgerService."""
        return await self._sweep(self._expire_holds, limit)

    async def mature_deposits(self, limit: int) -> int:
        """See LedgerService."""
        return await self._sweep(self._mature_deposits, limit)

    async def _sweep(self, sweep: Callable[[Shard, datetime, int], Awaitable[int]], limit: int) -> int:
        """Do it on every shard as of now, and raise in the end what went wrong on one."""
        at = self._clock.now()
        swept = await asyncio.gather(*(sweep(shard, at, limit) for shard in self.shards.all), return_exceptions=True)
        for trouble in swept:
            if isinstance(trouble, BaseException):
                raise trouble
        return sum(due for due in swept if isinstance(due, int))

    async def _mature_deposits(self, shard: Shard, at: datetime, limit: int) -> int:
        async with reading(shard.engine) as connection:
            due = await queries.find_deposits_due(connection, at, limit)
        return sum(await asyncio.gather(*(self._mature(shard, at, transaction_id) for transaction_id in due)))

    async def _mature(self, shard: Shard, at: datetime, transaction_id: TransactionId) -> bool:
        """Whether it matured now: another sweep, or a return, may have been there first."""
        command = StepCommand(transaction_id=transaction_id, step=Step.MATURE_DEPOSIT)
        try:
            taken = await self._writers[shard.number].post(Take(command, at))
        except LedgerRejected:
            return False
        return not taken.replayed

    async def _expire_holds(self, shard: Shard, at: datetime, limit: int) -> int:
        async with reading(shard.engine) as connection:
            due = await queries.find_holds_due(connection, at, limit)
        writers = self._writers[shard.number]
        await asyncio.gather(
            *(writers.post(EndHold(hold_id, wallet_id, HoldStatus.EXPIRED, at)) for hold_id, wallet_id in due)
        )
        return len(due)

    async def hold(self, hold_id: HoldId) -> Hold | None:
        """See LedgerService."""
        async with reading(self.shards.of(hold_id).engine) as connection:
            return await queries.find_hold(connection, hold_id)

    async def holds(self, wallet_id: WalletId, *, before: HoldId | None, limit: int) -> Sequence[Hold]:
        """See LedgerService."""
        async with reading(self.shards.of(wallet_id).engine) as connection:
            return await queries.find_holds(connection, wallet_id, before, limit)

    async def suspend(self, item: NewSuspenseItem) -> SuspenseItem:
        """See LedgerService."""
        return await self._suspense.suspend(item)

    async def clear_suspense(self, clearing: Clearing) -> SuspenseItem:
        """See LedgerService."""
        return await self._suspense.clear(clearing)

    async def find_suspense(self, bank: str, return_reference: str) -> SuspenseItem | None:
        """See LedgerService."""
        return await self._suspense.find(bank, return_reference)

    async def note_attention(self, transaction_id: TransactionId, attention: Attention | None) -> None:
        """See LedgerService."""
        detail = {"step": attention.step, "reason": attention.reason, "detail": attention.detail} if attention else {}
        stored = detail | {"since": attention.since.isoformat()} if attention else None
        async with transaction(self.shards.of(transaction_id).engine) as connection:
            key = {"transaction_id": transaction_id.uuid}
            row = (await connection.execute(statements.LOCK_TRANSACTION, key)).first()
            if row is None or row.attention == stored or not _may_note(row, attention):
                return
            parameters = key | {"attention": orjson.dumps(stored).decode() if stored else None}
            await connection.execute(statements.SET_ATTENTION, parameters)
            await connection.execute(
                statements.ADD_TIMELINE,
                key
                | {
                    "event_id": new_uuid(transaction_id.bucket),
                    "type": "attention.raised" if attention else "attention.cleared",
                    "step": attention.step if attention else None,
                    "detail": orjson.dumps(detail).decode(),
                    "effective_at": self._clock.now(),
                },
            )
            found = queries.transaction_of(row)
            await tell(connection, TRANSACTIONS_TOPIC, transaction_id, _attention_event(found, attention), found.trace)

    async def ask_action(self, action: NewAction) -> OperatorAction:
        """See LedgerService."""
        async with transaction(self.shards.of(action.transaction_id).engine) as connection:
            return await operator_actions.ask_action(connection, action, self._clock.now())

    async def approve_action(self, action_id: ActionId, by: str, reason: str) -> OperatorAction:
        """See LedgerService."""
        async with transaction(self.shards.of(action_id).engine) as connection:
            return await operator_actions.approve_action(connection, action_id, by, reason)

    async def refuse_action(self, action_id: ActionId, why: str) -> None:
        """See LedgerService."""
        async with transaction(self.shards.of(action_id).engine) as connection:
            await operator_actions.refuse_action(connection, action_id, why)

    async def take_action(self, claim: ActionClaim) -> OperatorAction:
        """See LedgerService."""
        async with transaction(self.shards.of(claim.transaction_id).engine) as connection:
            return await operator_actions.take_action(connection, claim, self._clock.now())

    async def find_ruling(self, transaction_id: TransactionId) -> OperatorAction | None:
        """See LedgerService."""
        async with reading(self.shards.of(transaction_id).engine) as connection:
            return await operator_actions.find_ruling(connection, transaction_id)

    async def actions(self, transaction_id: TransactionId) -> Sequence[OperatorAction]:
        """See LedgerService."""
        async with reading(self.shards.of(transaction_id).engine) as connection:
            return await operator_actions.find_actions(connection, transaction_id)

    async def attention(
        self, wanted: AttentionFilter, *, after: TransactionId | None, limit: int
    ) -> Sequence[Transaction]:
        """See LedgerService."""

        async def on(shard: Shard) -> AsyncIterator[Transaction]:
            async with reading(shard.engine) as connection:
                for found in await operator_actions.find_attention(connection, wanted, after, limit):
                    yield found

        everywhere = [found async for found in self.shards.gathered(on)]
        return sorted(everywhere, key=lambda found: found.transaction_id)[:limit]

    async def find_key(self, key_digest: str, near: WalletId) -> RecordedKey | None:
        """See LedgerService."""
        async with reading(self.shards.of(near).engine) as connection:
            return await queries.find_key(connection, key_digest)

    async def transaction(self, transaction_id: TransactionId) -> Transaction | None:
        """See LedgerService."""
        async with reading(self.shards.of(transaction_id).engine) as connection:
            return await queries.find_transaction(connection, transaction_id)

    async def timeline(self, transaction_id: TransactionId) -> Sequence[TimelineItem]:
        """See LedgerService."""
        async with reading(self.shards.of(transaction_id).engine) as connection:
            return await queries.find_timeline(connection, transaction_id)

    def open_transactions(self, *, older_than_seconds: float) -> AsyncIterator[Transaction]:
        """See LedgerService."""
        return self.shards.gathered(lambda shard: _open_on(shard, older_than_seconds))

    async def open_wallet(self, wallet_id: WalletId, user_id: UserId, client_id: ClientId, currency: str) -> None:
        """See LedgerService."""
        parameters = {
            "wallet_id": wallet_id.uuid,
            "user_id": user_id.uuid,
            "client_id": client_id.uuid,
            "currency": currency,
            "per_transaction": self._default_limits.per_transaction,
            "daily": self._default_limits.daily,
        }
        async with transaction(self.shards.of(wallet_id).engine) as connection:
            opened = (await connection.execute(_OPEN_WALLET, parameters)).first()
            if opened is not None:
                wallet = await queries.find_wallet(connection, wallet_id)
                assert wallet is not None, "it was opened a moment ago"
                await tell_of_wallet(connection, wallet, WalletOpenedEvent, opened.created_at)

    async def wallet(self, wallet_id: WalletId) -> Wallet | None:
        """See LedgerService."""
        async with reading(self.shards.of(wallet_id).engine) as connection:
            return await queries.find_wallet(connection, wallet_id)

    async def change_wallet(self, wallet_id: WalletId, change: WalletChange) -> ChangedWallet:
        """See LedgerService."""
        async with transaction(self.shards.of(wallet_id).engine) as connection:
            return await change_wallet(connection, wallet_id, change, self._clock.now())

    async def ask_write_off(self, asked: NewWriteOff) -> WriteOff:
        """See LedgerService."""
        return await self._write_offs.ask(asked)

    async def approve_write_off(self, write_off_id: TransactionId, by: str, reason: str) -> WriteOff:
        """See LedgerService."""
        return await self._write_offs.approve(write_off_id, by, reason)

    async def withdraw_write_off(self, write_off_id: TransactionId, by: str, reason: str) -> WriteOff:
        """See LedgerService."""
        return await self._write_offs.withdraw(write_off_id, by, reason)

    async def write_offs(
        self, wallet_id: WalletId | None, *, waiting: bool, after: TransactionId | None, limit: int
    ) -> Sequence[WriteOff]:
        """See LedgerService."""
        return await self._write_offs.page(wallet_id, waiting=waiting, after=after, limit=limit)

    async def entries(self, wallet_id: WalletId, *, before_version: int | None, limit: int) -> Sequence[Entry]:
        """See LedgerService."""
        async with reading(self.shards.of(wallet_id).engine) as connection:
            return await queries.find_entries(connection, wallet_id, before_version, limit)

    async def ensure_partitions(self) -> int:
        """Make the partitions of the coming months and days on every shard; how many were new."""
        made = 0
        for shard in self.shards.all:
            async with transaction(shard.engine) as connection:
                made += (await connection.execute(text("SELECT ledger.ensure_partitions()"))).scalar_one()
        return made

    async def ping(self) -> Sequence[int]:
        """See LedgerService."""
        silent = await self.shards.silent()
        if len(silent) == len(self.shards.all):
            raise LedgerUnavailable("None of the ledger's databases answers.")
        return silent

    async def aclose(self) -> None:
        """See LedgerService."""
        await self._received.aclose()
        for writers in self._writers:
            await writers.aclose()
        await self.shards.aclose()


def _may_note(row: Any, attention: Attention | None) -> bool:  # noqa: ANN401  -- a row of SQLAlchemy's
    """A payment that has ended needs a person only where the bank says otherwise afterwards."""
    if row.completed_at is None:
        return True
    return row.attention is not None if attention is None else attention.reason == CONTRADICTION


def _attention_event(found: Transaction, attention: Attention | None) -> TransactionEvent:
    told = told_of(found, found.status, datetime.now(UTC), found.failure)
    if attention is None:
        return TransactionAttentionClearedEvent.model_validate(told)
    return TransactionAttentionRaisedEvent.model_validate({**told, "attention": attention})


async def _open_on(shard: Shard, older_than_seconds: float) -> AsyncIterator[Transaction]:
    after = _BEFORE_ALL
    while True:
        async with reading(shard.engine) as connection:
            page = await queries.find_open(connection, older_than_seconds, after, _PAGE)
        for found in page:
            yield found
        if len(page) < _PAGE:
            break
        after = page[-1].transaction_id.uuid
