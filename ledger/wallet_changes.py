"""Changes of a wallet's rules. Each locks the account as a posting does, so it lies before a payment or after it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.contracts.wallets import ChangeKind, WalletChange
from domain.errors import CannotChangeWallet, IdempotencyKeyReused, NotFound, WalletInUse
from domain.events import (
    WALLETS_TOPIC,
    WalletClosedEvent,
    WalletEvent,
    WalletFrozenEvent,
    WalletLimitedEvent,
    WalletUnfrozenEvent,
)
from domain.ids import WalletId
from ledger.queries import WALLET_COLUMNS, wallet_of
from ledger.service import AccountStatus, ChangedWallet, Wallet
from ledger.telling import tell

_LOCK: Final = text(f"""
    SELECT {WALLET_COLUMNS} FROM ledger.accounts WHERE account_id = :wallet_id AND kind = 'wallet' FOR NO KEY UPDATE
""")  # noqa: S608
_MADE_BEFORE: Final = text("""
    SELECT encode(fingerprint, 'hex') AS fingerprint FROM ledger.account_changes
    WHERE account_id = :wallet_id AND key_digest = decode(:key_digest, 'hex')
""")
# Seldom asked, and the index of open payments is short.
_UNDER_WAY: Final = text("""
    SELECT transaction_id FROM ledger.transactions
    WHERE status IN ('pending', 'processing') AND (source_wallet_id = :wallet_id OR destination_wallet_id = :wallet_id)
    LIMIT 1
""")
_CHANGE: Final = text("""
    WITH change AS (
        INSERT INTO ledger.account_changes
            (account_id, number, kind, status, debits_frozen, credits_frozen, limit_per_transaction, limit_daily,
             changed_by, reason, key_digest, fingerprint, effective_at)
        SELECT :wallet_id, coalesce(max(number), 0) + 1, :kind, :status, :debits_frozen, :credits_frozen,
               CAST(:per_transaction AS bigint), CAST(:daily AS bigint), :by, :reason,
               decode(CAST(:key_digest AS text), 'hex'), decode(CAST(:fingerprint AS text), 'hex'), :effective_at
        FROM ledger.account_changes WHERE account_id = :wallet_id
    )
    UPDATE ledger.accounts
    SET status = :status, debits_frozen = :debits_frozen, credits_frozen = :credits_frozen,
        limit_per_transaction = CAST(:per_transaction AS bigint), limit_daily = CAST(:daily AS bigint)
    WHERE account_id = :wallet_id
    RETURNING clock_timestamp()
""")
_EVENTS: Final[Mapping[ChangeKind, type[WalletEvent]]] = {
    ChangeKind.FREEZE: WalletFrozenEvent,
    ChangeKind.UNFREEZE: WalletUnfrozenEvent,
    ChangeKind.LIMIT: WalletLimitedEvent,
    ChangeKind.CLOSE: WalletClosedEvent,
}


async def change_wallet(
    connection: AsyncConnection, wallet_id: WalletId, change: WalletChange, effective_at: datetime
) -> ChangedWallet:
    """Change a wallet's rules in this database transaction, and record who asked for it and why.

    Raises NotFound, IdempotencyKeyReused, CannotChangeWallet for a closed wallet, and WalletInUse.
    """
    wanted = {"wallet_id": wallet_id.uuid}
    row = (await connection.execute(_LOCK, wanted)).first()
    if row is None:
        raise NotFound(f"There is no wallet {wallet_id}.")
    wallet = wallet_of(row)
    if await _made_before(connection, wallet_id, change):
        return ChangedWallet(wallet=wallet, replayed=True)
    changed = changed_by(wallet, change)
    if changed.status is AccountStatus.CLOSED and wallet.status is not AccountStatus.CLOSED:
        under_way = (await connection.execute(_UNDER_WAY, wanted)).first()
        if under_way is not None:
            raise WalletInUse("The wallet has a payment under way.")
    if changed != wallet or change.key is not None:
        made = await connection.execute(_CHANGE, wanted | _values(changed, change) | {"effective_at": effective_at})
        if changed != wallet:
            await tell_of_wallet(connection, changed, _EVENTS[change.kind], made.scalar_one())
    return ChangedWallet(wallet=changed, replayed=False)


async def tell_of_wallet(connection: AsyncConnection, wallet: Wallet, kind: type[WalletEvent], at: datetime) -> None:
    """Tell in this commit what a wallet's rules are from now on."""
    event = kind(
        wallet_id=wallet.wallet_id,
        user_id=wallet.user_id,
        client_id=wallet.client_id,
        currency=wallet.currency,
        status=wallet.status.value,
        debits_frozen=wallet.debits_frozen,
        credits_frozen=wallet.credits_frozen,
        limit_per_transaction=wallet.limits.per_transaction,
        limit_daily=wallet.limits.daily,
        timestamp=at,
    )
    await tell(connection, WALLETS_TOPIC, wallet.wallet_id, event)


def changed_by(wallet: Wallet, change: WalletChange) -> Wallet:
    """The wallet after the change. Raises CannotChangeWallet, and WalletInUse for one that still has money."""
    if wallet.status is AccountStatus.CLOSED:
        if change.kind is ChangeKind.CLOSE:
            return wallet
        raise CannotChangeWallet
    match change.kind:
        case ChangeKind.FREEZE:
            sides = wallet.debits_frozen or change.debits, wallet.credits_frozen or change.credits
            return _with_frozen(wallet, *sides)
        case ChangeKind.UNFREEZE:
            sides = wallet.debits_frozen and not change.debits, wallet.credits_frozen and not change.credits
            return _with_frozen(wallet, *sides)
        case ChangeKind.LIMIT:
            return replace(wallet, limits=change.limits)
        case ChangeKind.CLOSE:
            if wallet.posted or wallet.held:
                raise WalletInUse(f"The wallet has {wallet.posted} {wallet.currency}, {wallet.held} of it held.")
            if wallet.owed:
                raise WalletInUse(f"The wallet owes {wallet.owed} {wallet.currency}.")
            return replace(wallet, status=AccountStatus.CLOSED, debits_frozen=False, credits_frozen=False)


def _with_frozen(wallet: Wallet, debits_frozen: bool, credits_frozen: bool) -> Wallet:
    status = AccountStatus.FROZEN if debits_frozen or credits_frozen else AccountStatus.ACTIVE
    return replace(wallet, status=status, debits_frozen=debits_frozen, credits_frozen=credits_frozen)


async def _made_before(connection: AsyncConnection, wallet_id: WalletId, change: WalletChange) -> bool:
    if change.key is None:
        return False
    wanted = {"wallet_id": wallet_id.uuid, "key_digest": change.key.key_digest}
    row = (await connection.execute(_MADE_BEFORE, wanted)).first()
    if row is not None and row.fingerprint != change.key.fingerprint:
        raise IdempotencyKeyReused
    return row is not None


def _values(changed: Wallet, change: WalletChange) -> dict[str, object]:
    return {
        "kind": change.kind,
        "status": changed.status,
        "debits_frozen": changed.debits_frozen,
        "credits_frozen": changed.credits_frozen,
        "per_transaction": changed.limits.per_transaction,
        "daily": changed.limits.daily,
        "by": change.by,
        "reason": change.reason,
        "key_digest": change.key.key_digest if change.key else None,
        "fingerprint": change.key.fingerprint if change.key else None,
    }
