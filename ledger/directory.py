"""The directory: clients and their API keys, users, bank links and bank accounts. Beside shard 0, never any money.

A POST that writes here keeps its idempotency key in the same commit as what it made: one key, one resource, for ever.
Every method raises LedgerUnavailable when the database does not answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final, Self
from uuid import UUID

from sqlalchemy import Row, text

from domain.contracts.payments import IdempotencyRecord
from domain.errors import HandleTaken
from domain.ids import ClientId, UserId, WalletId, random_bucket
from infra.database import make_engine, reading, transaction
from infra.secrets import Cipher
from infra.settings import Settings
from ledger.bank_accounts import BankAccounts
from ledger.request_keys import claim, find_claim

KEY_PREFIX: Final = "sk_"
KEY_ID_LENGTH: Final = 16


class Scope(StrEnum):
    """What an API key may do: an app pays for its own users, an operator looks after all payments."""

    APP = "app"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key as it is kept: `key_id` begins its SHA-256, the key itself is never stored."""

    key_id: str
    client_id: ClientId
    scope: Scope
    name: str
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An app that owns users."""

    client_id: ClientId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who owns a wallet. None of it ever changes, so it may be remembered for as long as one likes."""

    wallet_id: WalletId
    user_id: UserId
    client_id: ClientId
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person and their home wallet."""

    user_id: UserId
    client_id: ClientId
    wallet_id: WalletId
    currency: str
    name: str = field(repr=False)
    email: str = field(repr=False)
    handle: str | None = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """What a client says of a person."""

    client_id: ClientId
    currency: str
    name: str = field(repr=False)
    email: str = field(repr=False)
    handle: str | None = field(default=None, repr=False)


def hash_key(plaintext: str) -> bytes:
    """What is stored of an API key. Keys are 256 random bits, so one round of SHA-256 is enough."""
    return sha256(plaintext.encode()).digest()


_ADD_CLIENT = text("INSERT INTO directory.clients (client_id, name) VALUES (:client_id, :name)")
_CLIENTS = text("SELECT client_id, name FROM directory.clients ORDER BY created_at, client_id")
_ADD_KEY = text("""
    INSERT INTO directory.api_keys (key_hash, client_id, scope, name) VALUES (:key_hash, :client_id, :scope, :name)
""")
_KEYS = text("SELECT key_hash, client_id, scope, name, revoked_at FROM directory.api_keys ORDER BY created_at")
_KEY = text("""
    SELECT key_hash, client_id, scope, name, revoked_at FROM directory.api_keys
    WHERE key_hash = :key_hash AND revoked_at IS NULL
""")
_REVOKE = text("""
    UPDATE directory.api_keys SET revoked_at = now()
    WHERE left(encode(key_hash, 'hex'), :length) = :key_id AND revoked_at IS NULL
""")
_ADD_USER = text("""
    INSERT INTO directory.users (user_id, client_id, wallet_id, currency, name, email, handle)
    VALUES (:user_id, :client_id, :wallet_id, :currency, :name, :email, :handle)
    ON CONFLICT (client_id, handle) DO NOTHING RETURNING created_at
""")
_USER = text("""
    SELECT user_id, client_id, wallet_id, currency, name, email, handle, created_at
    FROM directory.users WHERE user_id = :id
""")
_PARTIES = text("""
    SELECT wallet_id, user_id, client_id, currency FROM directory.users
    WHERE wallet_id = ANY(:wallets) OR user_id = ANY(:users)
""")


class Directory(BankAccounts):
    """Who there is, and their bank accounts. `engine` is the first shard's database."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """A directory with connections of its own; the caller closes it."""
        engine = make_engine(settings.shard_urls[0], settings, application_name="sagapay-directory")
        return cls(engine, Cipher.from_settings(settings))

    async def aclose(self) -> None:
        """Let go of all connections."""
        await self.engine.dispose()

    # -- clients and keys ------------------------------------------------------------------------

    async def create_client(self, name: str) -> ClientId:
        """Add a client."""
        client_id = ClientId.new(random_bucket())
        async with transaction(self.engine) as connection:
            await connection.execute(_ADD_CLIENT, {"client_id": client_id.uuid, "name": name})
        return client_id

    async def clients(self) -> Sequence[Client]:
        """All clients, oldest first."""
        async with reading(self.engine) as connection:
            rows = await connection.execute(_CLIENTS)
            return [Client(client_id=ClientId.of(row.client_id), name=row.name) for row in rows]

    async def create_key(self, client_id: ClientId, scope: Scope, name: str) -> str:
        """A new API key of a client, in plain text: this is the only time anyone sees it."""
        plaintext = KEY_PREFIX + token_urlsafe(32)
        parameters = {"key_hash": hash_key(plaintext), "client_id": client_id.uuid, "scope": scope, "name": name}
        async with transaction(self.engine) as connection:
            await connection.execute(_ADD_KEY, parameters)
        return plaintext

    async def keys(self) -> Sequence[ApiKey]:
        """All API keys, revoked ones too, oldest first."""
        async with reading(self.engine) as connection:
            return [_key_of(row) for row in await connection.execute(_KEYS)]

    async def revoke_key(self, key_id: str) -> bool:
        """Revoke a key by its `key_id`; False if there is no such live key. APIs notice within 10 seconds."""
        async with transaction(self.engine) as connection:
            done = await connection.execute(_REVOKE, {"key_id": key_id, "length": KEY_ID_LENGTH})
        return bool(done.rowcount)

    async def authenticate(self, key_hash: bytes) -> ApiKey | None:
        """The live key with this hash (see `hash_key`). The look-up compares hashes, so its time tells nothing."""
        async with reading(self.engine) as connection:
            row = (await connection.execute(_KEY, {"key_hash": key_hash})).first()
        return _key_of(row) if row else None

    # -- idempotency of what is written here -----------------------------------------------------

    async def find_request(self, key: IdempotencyRecord) -> UUID | None:
        """The resource that a key made, if it was used. Raises IdempotencyKeyReused."""
        async with reading(self.engine) as connection:
            return await find_claim(connection, key)

    # -- users -----------------------------------------------------------------------------------

    async def create_user(self, new: NewUser, key: IdempotencyRecord) -> tuple[User, bool]:
        """Add a user, once per key; True says that it was there. Raises HandleTaken and IdempotencyKeyReused.

        The wallet's id is fixed here; the ledger opens the wallet after this commit, again on every repetition.
        """
        bucket = random_bucket()
        user_id, wallet_id = UserId.new(bucket), WalletId.new(bucket)
        parameters = {
            "user_id": user_id.uuid,
            "client_id": new.client_id.uuid,
            "wallet_id": wallet_id.uuid,
            "currency": new.currency,
            "name": new.name,
            "email": new.email,
            "handle": new.handle,
        }
        async with transaction(self.engine) as connection:
            recorded = await claim(connection, key, user_id.uuid)
            if recorded is not None:
                return _user_of((await connection.execute(_USER, {"id": recorded})).one()), True
            added = (await connection.execute(_ADD_USER, parameters)).first()
            if added is None:
                raise HandleTaken
            return _user_of((await connection.execute(_USER, {"id": user_id.uuid})).one()), False

    async def user(self, user_id: UserId) -> User | None:
        """One user."""
        async with reading(self.engine) as connection:
            row = (await connection.execute(_USER, {"id": user_id.uuid})).first()
        return _user_of(row) if row else None

    async def parties(self, wallet_ids: Sequence[WalletId], user_ids: Sequence[UserId]) -> Sequence[Party]:
        """The owners of these wallets, and the home wallets of these users; the unknown are left out."""
        parameters = {"wallets": [item.uuid for item in wallet_ids], "users": [item.uuid for item in user_ids]}
        async with reading(self.engine) as connection:
            rows = await connection.execute(_PARTIES, parameters)
            return [
                Party(
                    wallet_id=WalletId.of(row.wallet_id),
                    user_id=UserId.of(row.user_id),
                    client_id=ClientId.of(row.client_id),
                    currency=row.currency,
                )
                for row in rows
            ]


def _key_of(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        key_id=row.key_hash.hex()[:KEY_ID_LENGTH],
        client_id=ClientId.of(row.client_id),
        scope=Scope(row.scope),
        name=row.name,
        revoked_at=row.revoked_at,
    )


def _user_of(row: Row[tuple[object, ...]]) -> User:
    return User(
        user_id=UserId.of(row.user_id),
        client_id=ClientId.of(row.client_id),
        wallet_id=WalletId.of(row.wallet_id),
        currency=row.currency,
        name=row.name,
        email=row.email,
        handle=row.handle,
        created_at=row.created_at,
    )
