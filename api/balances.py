"""Balances from the cache: for readers that can wait for what is new, and never for the right to spend."""

from dataclasses import dataclass
from itertools import count
from typing import Final

import orjson

from api.metrics import BALANCE_CONTRADICTIONS, BALANCE_DRIFT, BALANCES
from api.views import view_of_wallet
from domain.errors import InvalidId, NotFound
from domain.ids import ClientId, WalletId
from infra.redis import BALANCE_SECONDS, Cache, balance_name
from ledger.service import AccountStatus, LedgerService, Wallet

COMPARE_EVERY: Final = 100
"""One read in so many is answered by the ledger although the cache could, and the two are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBalance:
    """A wallet as it was a moment ago. `posted` and `spendable` are minor units; `answer` is what its owner reads.

    `spendable` is what a debit may take at most: nothing of a wallet that is closed, owes or is frozen for debits.
    """

    client_id: ClientId
    version: int
    posted: int
    spendable: int
    answer: bytes


class Balances:
    """The cache beside the ledger. Without Redis every question goes to the ledger."""

    def __init__(self, cache: Cache, ledger: LedgerService) -> None:
        self._cache = cache
        self._ledger = ledger
        self._reads = count(1)

    async def eventual(self, wallet_id: WalletId) -> KnownBalance:
        """The balance, at most some seconds old. Raises NotFound and LedgerUnavailable."""
        known = await self.known(wallet_id)
        if known is not None and next(self._reads) % COMPARE_EVERY:
            BALANCES.labels("cache").inc()
            return known
        BALANCES.labels("ledger").inc()
        found = await self.look(wallet_id, known)
        if found is None:
            raise NotFound
        return found

    async def known(self, wallet_id: WalletId) -> KnownBalance | None:
        """What the cache has."""
        value = await self._cache.get_versioned(balance_name(wallet_id))
        return _read(value) if value is not None else None

    async def look(self, wallet_id: WalletId, known: KnownBalance | None) -> KnownBalance | None:
        """What the ledger has, which the cache gets; `known` is what the cache had before. Raises LedgerUnavailable."""
        wallet = await self._ledger.wallet(wallet_id)
        if wallet is None:
            return None
        found = _of(wallet)
        if known is not None and _contradicts(known, found):
            BALANCE_CONTRADICTIONS.inc()
            await self.forget(wallet_id)
        elif known is not None:
            BALANCE_DRIFT.observe(found.version - known.version)
        await self._cache.set_newer(
            balance_name(wallet_id), _written(found), version=found.version, ttl_seconds=BALANCE_SECONDS
        )
        return found

    async def forget(self, wallet_id: WalletId) -> None:
        """Something has changed that makes no entry."""
        await self._cache.forget(balance_name(wallet_id))


def _contradicts(known: KnownBalance, found: KnownBalance) -> bool:
    """Whether `known`, which was read first, was never true: versions only grow, and each has one sum."""
    return known.version > found.version or (known.version == found.version and known.posted != found.posted)


def _of(wallet: Wallet) -> KnownBalance:
    stopped = wallet.status is AccountStatus.CLOSED or wallet.debits_frozen or wallet.owed > 0
    return KnownBalance(
        client_id=wallet.client_id,
        version=wallet.version,
        posted=wallet.posted,
        spendable=0 if stopped else wallet.available,
        answer=view_of_wallet(wallet).model_dump_json(exclude_none=True).encode(),
    )


def _written(balance: KnownBalance) -> bytes:
    fields = [balance.client_id, balance.version, balance.posted, balance.spendable, balance.answer.decode()]
    return orjson.dumps(fields)


def _read(value: bytes) -> KnownBalance | None:
    # Whatever else stands there is not ours; the ledger will tell.
    try:
        client_id, version, posted, spendable, answer = orjson.loads(value)
        return KnownBalance(
            client_id=ClientId.parse(client_id),
            version=int(version),
            posted=int(posted),
            spendable=int(spendable),
            answer=answer.encode(),
        )
    except (ValueError, TypeError, AttributeError, InvalidId):
        return None
