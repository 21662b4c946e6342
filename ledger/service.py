"""The ledger's service interface: the only way to money. In the caller's process today; the same behind RPC."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from domain.contracts.holds import HoldRequest
from domain.contracts.operators import ActionClaim, AttentionFilter, NewAction, OperatorAction
from domain.contracts.payments import Attention, Failure, PaymentRequest, StepCommand, StepResult
from domain.contracts.suspense import Clearing, NewSuspenseItem, SuspenseItem
from domain.contracts.wallets import WalletChange, WalletLimits
from domain.contracts.write_offs import NewWriteOff, WriteOff
from domain.holds import HoldStatus
from domain.ids import ActionId, BankAccountId, BatchId, ClientId, EntryId, HoldId, TransactionId, UserId, WalletId
from domain.money import Money
from domain.rails import Rail
from domain.transactions import Step, TransactionKind, TransactionStatus


class AccountStatus(StrEnum):
    """A wallet that is frozen on a side, or closed, starts no new payment there.

    What was accepted before goes to its end; a wallet with payments under way cannot be closed, and a closed one is
    never opened again.
    """

    ACTIVE = "active"
    FROZEN = "frozen"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """A wallet as the ledger has it. `posted`, `held` and `available` are minor units of `currency`."""

    wallet_id: WalletId
    user_id: UserId
    client_id: ClientId
    currency: str
    status: AccountStatus
    posted: int
    held: int
    version: int
    debits_frozen: bool
    credits_frozen: bool
    limits: WalletLimits
    spent_on: date | None
    spent: int
    """What left it on the banking day `spent_on`, or was held to leave it."""
    owed: int = 0
    """What returned deposits took back and it did not have: nothing leaves it, and what comes pays this first."""

    @property
    def available(self) -> int:
        """What can be spent: posted less held."""
        return self.posted - self.held


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedWallet:
    """The wallet after a change; `replayed` if the key was used before."""

    wallet: Wallet
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a wallet's statement. `version` counts the account's entries without gaps, from 1."""

    entry_id: EntryId
    transaction_id: TransactionId
    side: str
    amount: int
    currency: str
    balance_after: int
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction as recorded. `rails` are the bank's, in the order in which they are tried."""

    transaction_id: TransactionId
    kind: TransactionKind
    status: TransactionStatus
    client_id: ClientId
    amount: Money
    source_wallet_id: WalletId | None
    destination_wallet_id: WalletId | None
    bank_account_id: BankAccountId | None
    bank: str | None
    memo: str | None
    failure: Failure | None
    attention: Attention | None
    workflow_id: str
    effective_at: datetime
    created_at: datetime
    completed_at: datetime | None
    hold_id: HoldId | None = None
    rails: tuple[Rail, ...] = ()
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A client's hold as recorded. `captured` is minor units; `effective_at` and `expires_at` are business time."""

    hold_id: HoldId
    client_id: ClientId
    wallet_id: WalletId
    amount: Money
    captured: int
    status: HoldStatus
    memo: str | None
    failure: Failure | None
    effective_at: datetime
    expires_at: datetime
    created_at: datetime
    ended_at: datetime | None

    @property
    def remaining(self) -> int:
        """What is still held, in minor units."""
        return self.amount.minor_units - self.captured if self.status is HoldStatus.ACTIVE else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedHold:
    """The hold under a key as it is now; `replayed` if the key was used before."""

    hold: Hold
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineItem:
    """One thing that happened to a transaction; `type` is e.g. "step.posted" or "attention.raised"."""

    type: str
    step: str | None
    detail: dict[str, str]
    effective_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedKey:
    """What an idempotency key was first used for. `fingerprint` is hex."""

    transaction_id: TransactionId
    fingerprint: str


class LedgerService(Protocol):
    """Records, decides and answers. Every method raises LedgerUnavailable when the database does not answer.

    A call that raised may still have happened; repeating it with the same keys gives the outcome that was recorded.
    """

    async def begin(self, request: PaymentRequest, step: Step) -> StepResult:
        """Record a new payment and take its first step, in one commit. Raises IdempotencyKeyReused.

        Used again with the same key, it returns the first outcome under the first transaction's id.

        A transfer to a wallet on another shard takes SEND_TRANSFER in place of SETTLE_TRANSFER or CAPTURE_HOLD: the
        result's status is PROCESSING, and the transfer goes on with `receive_transfer`.
        """
        ...

    async def receive_transfer(self, request: PaymentRequest, failure: Failure | None = None) -> StepResult:
        """Credit the receiver of a sent transfer on their own shard, once, or record why not; `request` names the
        recorded transaction. The result's `decision` says which, for ever.

        With `failure` nothing is tried any more: it is recorded as the outcome, unless there is one already. Then
        COMPLETE_TRANSFER, or REVERSE_TRANSFER with the failure, ends the transfer; neither is taken otherwise.
        """
        ...

    async def take_step(self, command: StepCommand) -> StepResult:
        """Take a later step of a recorded payment, once. Raises LedgerRejected for what is never right."""
        ...

    async def settle_batch(self, batch_id: BatchId) -> None:
        """Pay all transfers of an atomic batch in one commit, or none and record why; once. Raises LedgerRejected."""
        ...

    async def place_hold(self, request: HoldRequest) -> AcceptedHold:
        """Hold money for a client, or record why not, in one commit. Raises IdempotencyKeyReused."""
        ...

    async def release_hold(self, hold_id: HoldId) -> Hold:
        """Let go of what remains of a client's hold. One that has ended stays as it is. Raises NotFound."""
        ...

    async def expire_holds(self, limit: int) -> int:
        """End clients' holds that were to expire by now (business time), on each shard at most `limit`; how many.

        A shard that is down does not keep the others from it; then LedgerUnavailable is raised at the end.
        """
        ...

    async def mature_deposits(self, limit: int) -> int:
        """Release what waited of settled deposits until now (business time), on each shard at most `limit`; how many.

        Shards that are down are as with `expire_holds`.
        """
        ...

    async def hold(self, hold_id: HoldId) -> Hold | None:
        """One hold that a client placed."""
        ...

    async def holds(self, wallet_id: WalletId, *, before: HoldId | None, limit: int) -> Sequence[Hold]:
        """The holds that clients placed on a wallet, newest first, from before `before`."""
        ...

    async def suspend(self, item: NewSuspenseItem) -> SuspenseItem:
        """Book what a bank has moved and is no payment's on a suspense account, once; repeated, what was recorded."""
        ...

    async def clear_suspense(self, clearing: Clearing) -> SuspenseItem:
        """Take an item off the suspense account, once. What was done first stays and is answered. Raises NotFound."""
        ...

    async def find_suspense(self, bank: str, return_reference: str) -> SuspenseItem | None:
        """The suspense item of a bank's return, if it ever was one."""
        ...

    async def note_attention(self, transaction_id: TransactionId, attention: Attention | None) -> None:
        """Say that a payment needs a person, or no longer does. A final transaction is left alone."""
        ...

    async def ask_action(self, action: NewAction) -> OperatorAction:
        """Record what an operator asks of a payment; repeated, what was recorded. Raises IdempotencyKeyReused."""
        ...

    async def approve_action(self, action_id: ActionId, by: str, reason: str) -> OperatorAction:
        """A second operator agrees to a proposed force. Raises NotFound and CannotApprove."""
        ...

    async def refuse_action(self, action_id: ActionId, why: str) -> None:
        """Record that the payment's workflow refused what was asked."""
        ...

    async def take_action(self, claim: ActionClaim) -> OperatorAction:
        """Record that a payment does what it was told, once, if that is backed by what was asked.

        Raises CannotResolve.
        """
        ...

    async def find_ruling(self, transaction_id: TransactionId) -> OperatorAction | None:
        """The last word of a person on what the bank did, if the payment goes by one."""
        ...

    async def actions(self, transaction_id: TransactionId) -> Sequence[OperatorAction]:
        """What operators told a payment, oldest first."""
        ...

    async def attention(
        self, wanted: AttentionFilter, *, after: TransactionId | None, limit: int
    ) -> Sequence[Transaction]:
        """The payments that need a person, by id from behind `after`, at most `limit`.

        A shard that does not answer is left out, unless none does.
        """
        ...

    async def find_key(self, key_digest: str, near: WalletId) -> RecordedKey | None:
        """What an idempotency key stands for, on the shard of the wallet it was scoped to."""
        ...

    async def transaction(self, transaction_id: TransactionId) -> Transaction | None:
        """One transaction."""
        ...

    async def timeline(self, transaction_id: TransactionId) -> Sequence[TimelineItem]:
        """What happened to a transaction, oldest first."""
        ...

    def open_transactions(self, *, older_than_seconds: float) -> AsyncIterator[Transaction]:
        """Every transaction that is not final and older than that, read in pages, oldest first on each shard.

        A shard that does not answer is left out, unless none does.
        """
        ...

    async def open_wallet(self, wallet_id: WalletId, user_id: UserId, client_id: ClientId, currency: str) -> None:
        """Open a wallet with nothing in it. Opening it again changes nothing."""
        ...

    async def wallet(self, wallet_id: WalletId) -> Wallet | None:
        """A wallet with its balance, strongly consistent."""
        ...

    async def change_wallet(self, wallet_id: WalletId, change: WalletChange) -> ChangedWallet:
        """Freeze, unfreeze, limit or close a wallet, and record who asked for it and why; once for each key.

        Raises NotFound, IdempotencyKeyReused, CannotChangeWallet for a closed wallet, WalletInUse.
        """
        ...

    async def ask_write_off(self, asked: NewWriteOff) -> WriteOff:
        """Record that an operator asks to write off a wallet's debt; nothing moves yet. Repeated, what was recorded.

        Raises NotFound, CannotWriteOff where less is owed, and IdempotencyKeyReused.
        """
        ...

    async def approve_write_off(self, write_off_id: TransactionId, by: str, reason: str) -> WriteOff:
        """Another operator agrees, and what is still owed of it is ours to bear, in one commit. Repeated by the same
        one, what was done. Raises NotFound and CannotApprove."""
        ...

    async def withdraw_write_off(self, write_off_id: TransactionId, by: str, reason: str) -> WriteOff:
        """Nobody is to approve it any more. Raises NotFound, and CannotApprove for one that is approved."""
        ...

    async def write_offs(
        self, wallet_id: WalletId | None, *, waiting: bool, after: TransactionId | None, limit: int
    ) -> Sequence[WriteOff]:
        """Write-offs behind `after`, oldest first: of one wallet or all; all or those that wait for approval."""
        ...

    async def entries(self, wallet_id: WalletId, *, before_version: int | None, limit: int) -> Sequence[Entry]:
        """A wallet's statement, newest first, from below `before_version`."""
        ...

    async def ping(self) -> Sequence[int]:
        """Ask every shard whether it is there: the numbers of those that do not answer, if any does."""
        ...

    async def aclose(self) -> None:
        """Let go of all connections."""
        ...
