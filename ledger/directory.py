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
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.contracts.payments import IdempotencyRecord
from domain.errors import HandleTaken, IdempotencyKeyReused
from domain.ids import BankAccountId, ClientId, UserId, WalletId, new_uuid, random_bucket
from infra.database import make_engine, reading, transaction
from infra.settings import Settings

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAccount:
    """A user's linked account. `account_token` is the secret by which the bank knows it: for bank calls alone."""

    bank_account_id: BankAccountId
    client_id: ClientId
    user_id: UserId
    bank: str
    account_token: str = field(repr=False)
    holder_name: str = field(repr=False)
    mask: str
    status: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBankAccount:
    """What the bank said of an account when it was linked."""

    client_id: ClientId
    user_id: UserId
    bank: str
    account_token: str = field(repr=False)
    holder_name: str = field(repr=False)
    mask: str


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
_CLAIM = text("""
    INSERT INTO directory.request_keys (key_digest, fingerprint, resource_id)
    VALUES (:key_digest, :fingerprint, :resource_id) ON CONFLICT (key_digest) DO NOTHING RETURNING resource_id
""")
_CLAIMED = text("SELECT fingerprint, resource_id FROM directory.request_keys WHERE key_digest = :key_digest")
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
_ADD_LINK = text("""
    INSERT INTO directory.bank_links (link_id, client_id, user_id, bank, link_token)
    VALUES (:link_id, :client_id, :user_id, :bank, :link_token)
""")
_LINK_TOKEN = text("SELECT link_token FROM directory.bank_links WHERE link_id = :id")
_BANK_ACCOUNT_COLUMNS = (
    "bank_account_id, client_id, user_id, bank, account_token, holder_name, mask, status, created_at"
)
_ADD_BANK_ACCOUNT = text("""
    INSERT INTO directory.bank_accounts (bank_account_id, client_id, user_id, bank, account_token, holder_name, mask)
    VALUES (:bank_account_id, :client_id, :user_id, :bank, :account_token, :holder_name, :mask)
    ON CONFLICT (bank, account_token, user_id) DO NOTHING
""")
_BANK_ACCOUNT = text(f"SELECT {_BANK_ACCOUNT_COLUMNS} FROM directory.bank_accounts WHERE bank_account_id = :id")  # noqa: S608
_SAME_BANK_ACCOUNT = text(f"""
    SELECT {_BANK_ACCOUNT_COLUMNS} FROM directory.bank_accounts
    WHERE bank = :bank AND account_token = :account_token AND user_id = :user_id
""")  # noqa: S608


class Directory:
    """Who there is. `engine` is the first shard's database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """A directory with connections of its own; the caller closes it."""
        return cls(make_engine(settings.shard_urls[0], settings, application_name="sagapay-directory"))

    async def aclose(self) -> None:
        """Let go of all connections."""
        await self._engine.dispose()

    # -- clients and keys ------------------------------------------------------------------------

    async def create_client(self, name: str) -> ClientId:
        """Add a client."""
        client_id = ClientId.new(random_bucket())
        async with transaction(self._engine) as connection:
            await connection.execute(_ADD_CLIENT, {"client_id": client_id.uuid, "name": name})
        return client_id

    async def clients(self) -> Sequence[Client]:
        """All clients, oldest first."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(_CLIENTS)
            return [Client(client_id=ClientId.of(row.client_id), name=row.name) for row in rows]

    async def create_key(self, client_id: ClientId, scope: Scope, name: str) -> str:
        """A new API key of a client, in plain text: this is the only time anyone sees it."""
        plaintext = KEY_PREFIX + token_urlsafe(32)
        parameters = {"key_hash": hash_key(plaintext), "client_id": client_id.uuid, "scope": scope, "name": name}
        async with transaction(self._engine) as connection:
            await connection.execute(_ADD_KEY, parameters)
        return plaintext

    async def keys(self) -> Sequence[ApiKey]:
        """All API keys, revoked ones too, oldest first."""
        async with reading(self._engine) as connection:
            return [_key_of(row) for row in await connection.execute(_KEYS)]

    async def revoke_key(self, key_id: str) -> bool:
        """Revoke a key by its `key_id`; False if there is no such live key. APIs notice within 10 seconds."""
        async with transaction(self._engine) as connection:
            done = await connection.execute(_REVOKE, {"key_id": key_id, "length": KEY_ID_LENGTH})
        return bool(done.rowcount)

    async def authenticate(self, key_hash: bytes) -> ApiKey | None:
        """The live key with this hash (see `hash_key`). The look-up compares hashes, so its time tells nothing."""
        async with reading(self._engine) as connection:
            row = (await connection.execute(_KEY, {"key_hash": key_hash})).first()
        return _key_of(row) if row else None

    # -- idempotency of what is written here -----------------------------------------------------

    async def find_request(self, key: IdempotencyRecord) -> UUID | None:
        """The resource that a key made, if it was used. Raises IdempotencyKeyReused."""
        async with reading(self._engine) as connection:
            return await _find_claim(connection, key)

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
        async with transaction(self._engine) as connection:
            recorded = await _claim(connection, key, user_id.uuid)
            if recorded is not None:
                return _user_of((await connection.execute(_USER, {"id": recorded})).one()), True
            added = (await connection.execute(_ADD_USER, parameters)).first()
            if added is None:
                raise HandleTaken
            return _user_of((await connection.execute(_USER, {"id": user_id.uuid})).one()), False

    async def user(self, user_id: UserId) -> User | None:
        """One user."""
        async with reading(self._engine) as connection:
            row = (await connection.execute(_USER, {"id": user_id.uuid})).first()
        return _user_of(row) if row else None

    async def parties(self, wallet_ids: Sequence[WalletId], user_ids: Sequence[UserId]) -> Sequence[Party]:
        """The owners of these wallets, and the home wallets of these users; the unknown are left out."""
        parameters = {"wallets": [item.uuid for item in wallet_ids], "users": [item.uuid for item in user_ids]}
        async with reading(self._engine) as connection:
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

    # -- banks -----------------------------------------------------------------------------------

    async def record_bank_link(
        self, client_id: ClientId, user_id: UserId, bank: str, link_token: str, key: IdempotencyRecord
    ) -> str:
        """Keep a link token under its key; answers the token recorded first. Raises IdempotencyKeyReused."""
        link_id = new_uuid(user_id.bucket)
        parameters = {
            "link_id": link_id,
            "client_id": client_id.uuid,
            "user_id": user_id.uuid,
            "bank": bank,
            "link_token": link_token,
        }
        async with transaction(self._engine) as connection:
            recorded = await _claim(connection, key, link_id)
            if recorded is not None:
                return await _link_token(connection, recorded)
            await connection.execute(_ADD_LINK, parameters)
        return link_token

    async def link_token(self, link_id: UUID) -> str:
        """The token of a recorded link."""
        async with reading(self._engine) as connection:
            return await _link_token(connection, link_id)

    async def add_bank_account(self, new: NewBankAccount, key: IdempotencyRecord) -> BankAccount:
        """Keep a linked account under its key. Linked before: the same account. Raises IdempotencyKeyReused."""
        parameters = {
            "bank_account_id": BankAccountId.new(new.user_id.bucket).uuid,
            "client_id": new.client_id.uuid,
            "user_id": new.user_id.uuid,
            "bank": new.bank,
            "account_token": new.account_token,
            "holder_name": new.holder_name,
            "mask": new.mask,
        }
        async with transaction(self._engine) as connection:
            await connection.execute(_ADD_BANK_ACCOUNT, parameters)
            kept = _bank_account_of((await connection.execute(_SAME_BANK_ACCOUNT, parameters)).one())
            recorded = await _claim(connection, key, kept.bank_account_id.uuid)
            if recorded is None or recorded == kept.bank_account_id.uuid:
                return kept
            return _bank_account_of((await connection.execute(_BANK_ACCOUNT, {"id": recorded})).one())

    async def bank_account(self, bank_account_id: BankAccountId) -> BankAccount | None:
        """One bank account with the secret by which its bank knows it."""
        async with reading(self._engine) as connection:
            row = (await connection.execute(_BANK_ACCOUNT, {"id": bank_account_id.uuid})).first()
        return _bank_account_of(row) if row else None


async def _claim(connection: AsyncConnection, key: IdempotencyRecord, resource_id: UUID) -> UUID | None:
    # The unique index waits for whoever uses the same key right now, so one of two racers sees the other's resource.
    parameters = {
        "key_digest": bytes.fromhex(key.key_digest),
        "fingerprint": bytes.fromhex(key.fingerprint),
        "resource_id": resource_id,
    }
    if (await connection.execute(_CLAIM, parameters)).first() is not None:
        return None
    return await _find_claim(connection, key)


async def _find_claim(connection: AsyncConnection, key: IdempotencyRecord) -> UUID | None:
    row = (await connection.execute(_CLAIMED, {"key_digest": bytes.fromhex(key.key_digest)})).first()
    if row is None:
        return None
    if row.fingerprint != bytes.fromhex(key.fingerprint):
        raise IdempotencyKeyReused
    return UUID(int=row.resource_id.int)


async def _link_token(connection: AsyncConnection, link_id: UUID) -> str:
    return str((await connection.execute(_LINK_TOKEN, {"id": link_id})).scalar_one())


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


def _bank_account_of(row: Row[tuple[object, ...]]) -> BankAccount:
    return BankAccount(
        bank_account_id=BankAccountId.of(row.bank_account_id),
        client_id=ClientId.of(row.client_id),
        user_id=UserId.of(row.user_id),
        bank=row.bank,
        account_token=row.account_token,
        holder_name=row.holder_name,
        mask=row.mask,
        status=row.status,
        created_at=row.created_at,
    )
