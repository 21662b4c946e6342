"""Idempotency keys: where they come from, what is recorded of them, and the shortcut in Redis."""

from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Annotated, Final

import orjson
from fastapi import Header

from api.schemas import KEY_PATTERN, Body
from domain.contracts.payments import IdempotencyRecord
from domain.errors import IdempotencyKeyInvalid, IdempotencyKeyMissing, IdempotencyKeyReused, InvalidId
from domain.ids import BatchId, ClientId, TransactionId, WalletId
from infra.redis import Cache
from ledger.service import RecordedKey

REMEMBER_SECONDS: Final = 24 * 3600
REPLAYED_HEADER: Final = "Idempotent-Replayed"

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=KEY_PATTERN,
        description="1 to 255 visible ASCII characters, new for each new request. Required, here or in the body.",
        examples=["a9f0e61a-137d-4ae2-8f1f-0c4b0a3a7c11"],
    ),
]


def demand_key(header: str | None, body: Body | None) -> str:
    """The request's key. Raises IdempotencyKeyMissing, and IdempotencyKeyInvalid where header and body differ."""
    in_body = body.idempotency_key if body is not None else None
    if header is not None and in_body is not None and header != in_body:
        raise IdempotencyKeyInvalid("The Idempotency-Key header and idempotency_key in the body differ.")
    key = header if header is not None else in_body
    if key is None:
        raise IdempotencyKeyMissing
    return key


def fingerprint_of(route: str, body: Body) -> str:
    """SHA-256, as hex, of the route and the validated body before its ids are resolved.

    Fields that were not sent count as those sent with null, so that a field added later changes no old fingerprint.
    """
    fields = body.model_dump(exclude={"idempotency_key"}, exclude_none=True)
    return sha256(orjson.dumps([route, fields], option=orjson.OPT_SORT_KEYS)).hexdigest()


def record_of(client_id: ClientId, wallet_id: WalletId | None, key: str, fingerprint: str) -> IdempotencyRecord:
    """What is kept for ever. The scope is the client and the source wallet, or the client where there is no wallet.

    Ids have no spaces and keys no control characters, so no two scopes make the same text.
    """
    scoped = f"{client_id}\n{wallet_id or ''}\n{key}"
    digest = blake2b(scoped.encode(), digest_size=16, person=b"sagapay-key").hexdigest()
    return IdempotencyRecord(key_digest=digest, fingerprint=fingerprint)


@dataclass(frozen=True, slots=True)
class ScopedKey:
    """A key and the scope in which it is used."""

    client_id: ClientId
    wallet_id: WalletId
    key: str


class Shortcut:
    """What Redis remembers of keys for 24 hours. It is written after the commit, and never the authority."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def recall(self, scoped: ScopedKey) -> RecordedKey | None:
        """What the key was used for, in one round trip. Raises IdempotencyKeyReused: used with another wallet."""
        value, wallet = await self._cache.get_many([_record_name(scoped), _wallet_name(scoped)])
        if wallet is not None and wallet != scoped.wallet_id.encode():
            raise IdempotencyKeyReused("This idempotency key was used with another wallet.")
        return _read(value) if value is not None else None

    async def demand_wallet(self, scoped: ScopedKey) -> None:
        """Raises IdempotencyKeyReused if the key was used with another wallet; remembers it for this one."""
        await self.recall(scoped)
        await self._cache.set_many({_wallet_name(scoped): scoped.wallet_id.encode()}, REMEMBER_SECONDS)

    async def remember(self, scoped: ScopedKey, recorded: RecordedKey) -> None:
        """Remember a key whose payment is recorded."""
        value = orjson.dumps([recorded.transaction_id, recorded.fingerprint])
        values = {_record_name(scoped): value, _wallet_name(scoped): scoped.wallet_id.encode()}
        await self._cache.set_many(values, REMEMBER_SECONDS)


def item_key(batch_id: BatchId, index: int) -> str:
    """The key of a batch's transfer that brings none of its own. It has a space, which no client's key can have."""
    return f"{batch_id} {index}"


def _record_name(scoped: ScopedKey) -> str:
    return f"idem:{scoped.client_id}:{scoped.wallet_id}:{scoped.key}"


def _wallet_name(scoped: ScopedKey) -> str:
    return f"idem-wallet:{scoped.client_id}:{scoped.key}"


def _read(value: bytes) -> RecordedKey | None:
    # Whatever else stands there is no memory of ours; the ledger will tell.
    try:
        transaction_id, fingerprint = orjson.loads(value)
        return RecordedKey(transaction_id=TransactionId.parse(transaction_id), fingerprint=str(fingerprint))
    except (ValueError, TypeError, AttributeError, InvalidId):
        return None
