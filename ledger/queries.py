"""Reads: transactions, wallets, statements, timelines. Each is one statement on one shard."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.contracts.payments import Attention, Failure, StepResult
from domain.contracts.wallets import WalletLimits
from domain.errors import LedgerRejected
from domain.holds import HoldStatus
from domain.ids import BankAccountId, ClientId, EntryId, HoldId, TransactionId, UserId, WalletId
from domain.money import Money
from domain.rails import Rail
from domain.transactions import Step, StepDecision, TransactionKind, TransactionStatus
from infra.database import reading
from ledger.service import AccountStatus, Entry, Hold, RecordedKey, TimelineItem, Transaction, Wallet
from ledger.shards import Shards
from ledger.statements import FIND_KEY, HOLD_COLUMNS, TRANSACTION_COLUMNS

_TRANSACTION = text(f"SELECT {TRANSACTION_COLUMNS} FROM ledger.transactions WHERE transaction_id = :id")  # noqa: S608
_IN_FLIGHT = text("""
    SELECT EXISTS (SELECT FROM ledger.transactions
                   WHERE bank_account_id = :id AND status IN ('pending', 'processing')) AS in_flight
""")
_OPEN = text(f"""
    SELECT {TRANSACTION_COLUMNS} FROM ledger.transactions
    WHERE status IN ('pending', 'processing') AND transaction_id > :after
      AND created_at < now() - make_interval(secs => :seconds)
    ORDER BY transaction_id LIMIT :limit
""")  # noqa: S608
_FIRST_OUTCOME = text("""
    SELECT t.transaction_id, t.status, t.failure_code, t.failure_detail, s.step, s.outcome, s.refusal_code,
           s.refusal_detail
    FROM ledger.transactions t JOIN ledger.transaction_steps s USING (transaction_id)
    WHERE t.transaction_id = :transaction_id AND s.step = :step
""")
_RECEIVERS = text("""
    SELECT transaction_id, destination_wallet_id FROM ledger.transactions
    WHERE transaction_id = ANY(:ids) AND destination_wallet_id IS NOT NULL
""")
_OUTCOMES = text("""
    SELECT transaction_id, outcome FROM ledger.transaction_steps WHERE transaction_id = ANY(:ids) AND step = :step
""")
_TIMELINE = text("""
    SELECT type, step, detail, effective_at, created_at FROM ledger.transaction_events
    WHERE transaction_id = :id ORDER BY created_at, event_id
""")
WALLET_COLUMNS: Final = """account_id, user_id, client_id, currency, status, balance, held, version, debits_frozen,
    credits_frozen, limit_per_transaction, limit_daily, spent_on, spent, owed"""
_WALLET = text(f"SELECT {WALLET_COLUMNS} FROM ledger.accounts WHERE account_id = :id AND kind = 'wallet'")  # noqa: S608
_ENTRIES = text("""
    SELECT entry_id, transaction_id, type, amount, currency, balance_after, version, created_at
    FROM ledger.ledger_entries
    WHERE account_id = :id AND version < :before ORDER BY version DESC LIMIT :limit
""")
_HOLD = text(f"""
    SELECT {HOLD_COLUMNS} FROM ledger.holds WHERE hold_id = :id AND client_id IS NOT NULL
""")  # noqa: S608
_HOLDS = text(f"""
    SELECT {HOLD_COLUMNS} FROM ledger.holds
    WHERE account_id = :wallet_id AND client_id IS NOT NULL AND hold_id < :before ORDER BY hold_id DESC LIMIT :limit
""")  # noqa: S608
_HOLDS_DUE = text("""
    SELECT hold_id, account_id FROM ledger.holds
    WHERE status = 'active' AND expires_at <= :at ORDER BY expires_at LIMIT :limit
""")
_DEPOSITS_DUE = text("""
    SELECT h.transaction_id FROM ledger.holds h JOIN ledger.transactions t USING (transaction_id)
    WHERE h.status = 'active' AND h.available_at <= :at AND t.status = 'succeeded'
    ORDER BY h.available_at LIMIT :limit
""")
_SETTLEMENT = text("""
    SELECT split_part(code, ':', 2) AS bank, currency, sum(balance)::bigint AS balance
    FROM ledger.accounts WHERE kind = 'bank_settlement' GROUP BY 1, 2
""")
_OPENED = text("SELECT account_id FROM ledger.accounts WHERE account_id = ANY(:wallets) AND kind = 'wallet'")
_NEWEST = 2**63 - 1
_AFTER_ALL = UUID(int=2**128 - 1)


def _attention_of(value: dict[str, str] | None) -> Attention | None:
    if value is None:
        return None
    since = datetime.fromisoformat(value["since"])
    return Attention(step=value["step"], reason=value["reason"], since=since, detail=value.get("detail", ""))


def transaction_of(row: Any) -> Transaction:  # noqa: ANN401  -- a row of SQLAlchemy's or of the driver's
    """A row of `TRANSACTION_COLUMNS` as the domain knows it."""
    return Transaction(
        transaction_id=TransactionId.of(row.transaction_id),
        kind=TransactionKind(row.kind),
        status=TransactionStatus(row.status),
        client_id=ClientId.of(row.client_id),
        amount=Money(row.amount, row.currency),
        source_wallet_id=WalletId.of(row.source_wallet_id) if row.source_wallet_id else None,
        destination_wallet_id=WalletId.of(row.destination_wallet_id) if row.destination_wallet_id else None,
        bank_account_id=BankAccountId.of(row.bank_account_id) if row.bank_account_id else None,
        bank=row.bank,
        memo=row.memo,
        failure=failure_of(row),
        attention=_attention_of(row.attention),
        workflow_id=row.workflow_id,
        effective_at=row.effective_at,
        created_at=row.created_at,
        completed_at=row.completed_at,
        hold_id=HoldId.of(row.hold_id) if row.hold_id else None,
        rails=tuple(map(Rail, row.rails.split(","))) if row.rails else (),
        trace=row.trace,
    )


def hold_of(row: Any) -> Hold:  # noqa: ANN401  -- a row of SQLAlchemy's or of the driver's
    """A row of `HOLD_COLUMNS` as the domain knows it."""
    return Hold(
        hold_id=HoldId.of(row.hold_id),
        client_id=ClientId.of(row.client_id),
        wallet_id=WalletId.of(row.account_id),
        amount=Money(row.amount, row.currency),
        captured=row.captured,
        status=HoldStatus(row.status),
        memo=row.memo,
        failure=failure_of(row),
        effective_at=row.effective_at,
        expires_at=row.expires_at,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def wallet_of(row: Row[tuple[object, ...]]) -> Wallet:
    """A wallet's account row as the domain knows it."""
    return Wallet(
        wallet_id=WalletId.of(row.account_id),
        user_id=UserId.of(row.user_id),
        client_id=ClientId.of(row.client_id),
        currency=row.currency,
        status=AccountStatus(row.status),
        posted=row.balance,
        held=row.held,
        version=row.version,
        debits_frozen=row.debits_frozen,
        credits_frozen=row.credits_frozen,
        limits=WalletLimits(per_transaction=row.limit_per_transaction, daily=row.limit_daily),
        spent_on=row.spent_on,
        spent=row.spent,
        owed=row.owed,
    )


async def find_transaction(connection: AsyncConnection, transaction_id: TransactionId) -> Transaction | None:
    """One transaction, or None."""
    row = (await connection.execute(_TRANSACTION, {"id": transaction_id.uuid})).first()
    return transaction_of(row) if row else None


async def find_first_outcome(connection: AsyncConnection, transaction_id: TransactionId, step: Step) -> StepResult:
    """What became of a recorded payment's first step, and where it stands now. Raises LedgerRejected."""
    key = {"transaction_id": transaction_id.uuid, "step": step}
    row = (await connection.execute(_FIRST_OUTCOME, key)).first()
    if row is None:
        raise LedgerRejected(f"{transaction_id} is not recorded with {step} as its first step")
    return outcome_of(row, TransactionStatus(row.status), failure_of(row))


async def find_receivers(connection: AsyncConnection, ids: Iterable[TransactionId]) -> Mapping[TransactionId, WalletId]:
    """The receiving wallets of those that are recorded here and have one."""
    rows = await connection.execute(_RECEIVERS, {"ids": [each.uuid for each in ids]})
    return {TransactionId.of(row.transaction_id): WalletId.of(row.destination_wallet_id) for row in rows}


async def find_received(
    connection: AsyncConnection, ids: Iterable[TransactionId]
) -> Mapping[TransactionId, StepDecision]:
    """What this shard has recorded of receiving transfers, where it has."""
    rows = await connection.execute(_OUTCOMES, {"ids": [each.uuid for each in ids], "step": Step.RECEIVE_TRANSFER})
    return {TransactionId.of(row.transaction_id): StepDecision(row.outcome) for row in rows}


def failure_of(row: Any) -> Failure | None:  # noqa: ANN401  -- a row of SQLAlchemy's or of the driver's
    """Why a transaction failed, or None."""
    return Failure(code=row.failure_code, detail=row.failure_detail) if row.failure_code else None


def outcome_of(row: Any, status: TransactionStatus, failure: Failure | None) -> StepResult:  # noqa: ANN401
    """A row of `transaction_steps` as the answer to a repeat; `status` and `failure` are the transaction's."""
    refused = Failure(code=row.refusal_code, detail=row.refusal_detail) if row.refusal_code else None
    return StepResult(
        transaction_id=TransactionId.of(row.transaction_id),
        step=Step(row.step),
        decision=StepDecision(row.outcome),
        status=status,
        failure=refused or failure,
        replayed=True,
    )


async def find_open(
    connection: AsyncConnection, older_than_seconds: float, after: UUID, limit: int
) -> Sequence[Transaction]:
    """A page of the transactions that are not final and older than that: those behind `after`, oldest first."""
    rows = await connection.execute(_OPEN, {"seconds": older_than_seconds, "after": after, "limit": limit})
    return [transaction_of(row) for row in rows]


async def find_key(connection: AsyncConnection, key_digest: str) -> RecordedKey | None:
    """What an idempotency key was first used for."""
    row = (await connection.execute(FIND_KEY, {"key_digest": bytes.fromhex(key_digest)})).first()
    return (
        RecordedKey(transaction_id=TransactionId.of(row.transaction_id), fingerprint=row.fingerprint) if row else None
    )


async def find_timeline(connection: AsyncConnection, transaction_id: TransactionId) -> Sequence[TimelineItem]:
    """What happened, oldest first."""
    rows = await connection.execute(_TIMELINE, {"id": transaction_id.uuid})
    return [
        TimelineItem(
            type=row.type,
            step=row.step,
            detail=row.detail,
            effective_at=row.effective_at,
            created_at=row.created_at,
        )
        for row in rows
    ]


async def find_wallet(connection: AsyncConnection, wallet_id: WalletId) -> Wallet | None:
    """A wallet with its balance."""
    row = (await connection.execute(_WALLET, {"id": wallet_id.uuid})).first()
    return wallet_of(row) if row else None


async def find_entries(
    connection: AsyncConnection, wallet_id: WalletId, before_version: int | None, limit: int
) -> Sequence[Entry]:
    """A statement's page, newest first."""
    before = _NEWEST if before_version is None else before_version
    rows = await connection.execute(_ENTRIES, {"id": wallet_id.uuid, "before": before, "limit": limit})
    return [
        Entry(
            entry_id=EntryId.of(row.entry_id),
            transaction_id=TransactionId.of(row.transaction_id),
            side=row.type,
            amount=row.amount,
            currency=row.currency,
            balance_after=row.balance_after,
            version=row.version,
            created_at=row.created_at,
        )
        for row in rows
    ]


async def find_hold(connection: AsyncConnection, hold_id: HoldId) -> Hold | None:
    """A hold that a client placed."""
    row = (await connection.execute(_HOLD, {"id": hold_id.uuid})).first()
    return hold_of(row) if row else None


async def find_holds(
    connection: AsyncConnection, wallet_id: WalletId, before: HoldId | None, limit: int
) -> Sequence[Hold]:
    """A page of the holds that clients placed on a wallet, newest first."""
    wanted = {"wallet_id": wallet_id.uuid, "before": before.uuid if before else _AFTER_ALL, "limit": limit}
    return [hold_of(row) for row in await connection.execute(_HOLDS, wanted)]


async def find_holds_due(connection: AsyncConnection, at: datetime, limit: int) -> list[tuple[HoldId, WalletId]]:
    """The holds that were to expire by `at` (business time) and still stand, the oldest first, with their wallets."""
    rows = await connection.execute(_HOLDS_DUE, {"at": at, "limit": limit})
    return [(HoldId.of(row.hold_id), WalletId.of(row.account_id)) for row in rows]


async def find_deposits_due(connection: AsyncConnection, at: datetime, limit: int) -> list[TransactionId]:
    """The settled deposits of which something waited until `at` (business time) and still does, the oldest first."""
    rows = await connection.execute(_DEPOSITS_DUE, {"at": at, "limit": limit})
    return [TransactionId.of(row.transaction_id) for row in rows]


async def find_settlement(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """What a shard's settlement accounts hold: (bank, currency) → minor units."""
    return {(row.bank, row.currency): row.balance for row in await connection.execute(_SETTLEMENT)}


async def find_unopened(shards: Shards, wallet_ids: Sequence[WalletId]) -> Sequence[WalletId]:
    """Those of `wallet_ids` that the ledger does not know; one question to each shard. Raises LedgerUnavailable."""
    by_shard: dict[int, list[WalletId]] = defaultdict(list)
    for wallet_id in wallet_ids:
        by_shard[shards.number_of(wallet_id)].append(wallet_id)
    missing: list[WalletId] = []
    for number, wanted in by_shard.items():
        async with reading(shards.all[number].engine) as connection:
            rows = await connection.execute(_OPENED, {"wallets": [item.uuid for item in wanted]})
            opened = {WalletId.of(row.account_id) for row in rows}
        missing += [item for item in wanted if item not in opened]
    return missing


async def has_payment_in_flight(shards: Shards, bank_account_id: BankAccountId) -> bool:
    """Whether a recorded payment over this bank account is not final. Raises LedgerUnavailable.

    A bank account is of its user's bucket, so all its payments are on one shard.
    """
    async with reading(shards.of(bank_account_id).engine) as connection:
        return bool((await connection.execute(_IN_FLIGHT, {"id": bank_account_id.uuid})).scalar_one())
