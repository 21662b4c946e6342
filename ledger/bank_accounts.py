"""Users' accounts at banks, in the directory: tokens encrypted at rest, and the one record of where each link stands.

Whether money may move over a bank account is asked twice: when a payment is accepted, and again when its bank is about
to be told, under a lock (`bank_account_for_payment`). So whoever stops a link under that lock knows that every payment
either was recorded before, and is seen in the ledger, or is not going to be sent.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.bank_accounts import RELINKABLE, BankAccountStatus
from domain.contracts.payments import IdempotencyRecord
from domain.errors import BankAccountInUse, BankRefusedLink, CannotLink, NotFound
from domain.ids import BankAccountId, ClientId, UserId, new_uuid
from infra.database import reading, transaction
from infra.secrets import Cipher
from ledger.request_keys import claim


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAccount:
    """A user's linked account. `account_token` is the secret by which the bank knows it: for bank calls alone.

    An unlinked account has none. `status_since` is the database's time of the last change of `status`.
    """

    bank_account_id: BankAccountId
    client_id: ClientId
    user_id: UserId
    bank: str
    account_token: str = field(repr=False)
    holder_name: str = field(repr=False)
    mask: str
    status: BankAccountStatus
    status_since: datetime
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAccountChange:
    """A status that a link has had, from `at` on."""

    status: BankAccountStatus
    by: str
    reason: str
    at: datetime


_ADD_LINK = text("""
    INSERT INTO directory.bank_links (link_id, client_id, user_id, bank, link_token)
    VALUES (:link_id, :client_id, :user_id, :bank, :link_token)
""")
_LINK_TOKEN = text("SELECT link_token FROM directory.bank_links WHERE link_id = :id")
_COLUMNS: Final = (
    "bank_account_id, client_id, user_id, bank, account_token, holder_name, mask, status, status_since, created_at"
)
_ADD = text("""
    INSERT INTO directory.bank_accounts
        (bank_account_id, client_id, user_id, bank, account_token, token_digest, holder_name, mask, status)
    VALUES (:bank_account_id, :client_id, :user_id, :bank, :account_token, :token_digest, :holder_name, :mask, :status)
    ON CONFLICT (bank, token_digest, user_id) DO NOTHING RETURNING bank_account_id
""")
_SAME = text(f"""
    SELECT {_COLUMNS} FROM directory.bank_accounts
    WHERE bank = :bank AND token_digest = :token_digest AND user_id = :user_id
""")  # noqa: S608
_ONE = text(f"SELECT {_COLUMNS} FROM directory.bank_accounts WHERE bank_account_id = :id")  # noqa: S608
_SHARED = text(f"{_ONE.text} FOR SHARE")
_LOCKED = text(f"{_ONE.text} FOR NO KEY UPDATE")
_OF_USER = text(f"SELECT {_COLUMNS} FROM directory.bank_accounts WHERE user_id = :id ORDER BY bank_account_id")  # noqa: S608
_MOVE = text("""
    UPDATE directory.bank_accounts SET status = :status, status_since = clock_timestamp() WHERE bank_account_id = :id
""")
_FORGET = text("""
    UPDATE directory.bank_accounts
    SET status = 'unlinked', status_since = clock_timestamp(), account_token = NULL, token_digest = NULL
    WHERE bank_account_id = :id
""")
_RELINK = text("""
    UPDATE directory.bank_accounts
    SET status = 'active', status_since = clock_timestamp(), account_token = :account_token,
        token_digest = :token_digest, holder_name = :holder_name
    WHERE bank_account_id = :id
""")
_NOTE = text("""
    INSERT INTO directory.bank_account_changes (bank_account_id, number, status, changed_by, reason)
    SELECT :id, coalesce(max(number), 0) + 1, :status, :by, :reason
    FROM directory.bank_account_changes WHERE bank_account_id = :id
""")
_CHANGES = text("""
    SELECT status, changed_by, reason, created_at FROM directory.bank_account_changes
    WHERE bank_account_id = :id ORDER BY number
""")


class BankAccounts:
    """The part of the directory that knows bank links and bank accounts. Raises LedgerUnavailable as all of it does."""

    def __init__(self, engine: AsyncEngine, cipher: Cipher) -> None:
        self.engine = engine
        self.cipher = cipher

    # -- linking ---------------------------------------------------------------------------------

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
            "link_token": self.cipher.encrypt(link_token, link_place(link_id)),
        }
        async with transaction(self.engine) as connection:
            recorded = await claim(connection, key, link_id)
            if recorded is not None:
                return await self._link_token(connection, recorded)
            await connection.execute(_ADD_LINK, parameters)
        return link_token

    async def link_token(self, link_id: UUID) -> str:
        """The token of a recorded link."""
        async with reading(self.engine) as connection:
            return await self._link_token(connection, link_id)

    async def add_bank_account(self, new: NewBankAccount, key: IdempotencyRecord) -> BankAccount:
        """Keep a linked account under its key. Linked before: the same account. Raises IdempotencyKeyReused."""
        async with transaction(self.engine) as connection:
            kept = await self.insert(connection, new, BankAccountStatus.ACTIVE, "linked at the bank")
            recorded = await claim(connection, key, kept.bank_account_id.uuid)
            if recorded is None or recorded == kept.bank_account_id.uuid:
                return kept
            return self._read((await connection.execute(_ONE, {"id": recorded})).one())

    async def relink(
        self, bank_account_id: BankAccountId, again: NewBankAccount, by: str, key: IdempotencyRecord
    ) -> BankAccount:
        """Give an account a new token, under the same id; then it is active.

        Raises NotFound, IdempotencyKeyReused, CannotLink for a link that has ended or was never verified, and
        BankRefusedLink where the token opens another account than before.
        """
        async with transaction(self.engine) as connection:
            account = await self.lock(connection, bank_account_id)
            if await claim(connection, key, bank_account_id.uuid) is not None:
                return account
            if account.status not in RELINKABLE:
                raise CannotLink(f"A bank account that is {account.status} cannot be linked again; link it anew.")
            if (again.bank, again.user_id, again.mask) != (account.bank, account.user_id, account.mask):
                raise BankRefusedLink("This public token opens another account. Link that as an account of its own.")
            parameters = {"id": bank_account_id.uuid, "holder_name": again.holder_name}
            await connection.execute(_RELINK, parameters | self._sealed(bank_account_id, again.account_token))
            await _note(connection, bank_account_id, BankAccountStatus.ACTIVE, by, "linked again")
            return self._read((await connection.execute(_ONE, {"id": bank_account_id.uuid})).one())

    async def unlink(
        self,
        bank_account_id: BankAccountId,
        by: str,
        in_flight: Callable[[], Awaitable[bool]],
        key: IdempotencyRecord,
    ) -> BankAccount:
        """End a link and forget its token; once more changes nothing. `in_flight` asks the ledger, under our lock.

        Raises NotFound, IdempotencyKeyReused, BankAccountInUse while a payment over it is not final.
        """
        async with transaction(self.engine) as connection:
            account = await self.lock(connection, bank_account_id)
            await claim(connection, key, bank_account_id.uuid)
            if account.status is BankAccountStatus.UNLINKED:
                return account
            await connection.execute(_FORGET, {"id": bank_account_id.uuid})
            await _note(connection, bank_account_id, BankAccountStatus.UNLINKED, by, "unlinked")
            if await in_flight():
                raise BankAccountInUse
            return self._read((await connection.execute(_ONE, {"id": bank_account_id.uuid})).one())

    # -- stopping --------------------------------------------------------------------------------

    async def stop_debits(self, bank_account_id: BankAccountId, by: str, reason: str) -> BankAccount:
        """Take no more money from an account until its holder links it again; withdrawals to it go on.

        A link that is stopped already, or allows less, stays as it is. Raises NotFound.
        """
        return await self._restrict(bank_account_id, BankAccountStatus.DEBITS_STOPPED, by, reason)

    async def require_relink(self, bank_account_id: BankAccountId, by: str, reason: str) -> BankAccount:
        """Move no money over an account until its holder links it again.

        A link that is stopped so already, or has ended, stays as it is. Raises NotFound.
        """
        return await self._restrict(bank_account_id, BankAccountStatus.RELINK_REQUIRED, by, reason)

    async def _restrict(
        self, bank_account_id: BankAccountId, status: BankAccountStatus, by: str, reason: str
    ) -> BankAccount:
        async with transaction(self.engine) as connection:
            account = await self.lock(connection, bank_account_id)
            if not account.status.may_become(status):
                return account
            return await self.become(connection, bank_account_id, status, by, reason)

    # -- looking ---------------------------------------------------------------------------------

    async def bank_account(self, bank_account_id: BankAccountId) -> BankAccount | None:
        """One bank account with the secret by which its bank knows it."""
        async with reading(self.engine) as connection:
            row = (await connection.execute(_ONE, {"id": bank_account_id.uuid})).first()
        return self._read(row) if row else None

    async def bank_account_for_payment(self, bank_account_id: BankAccountId) -> BankAccount | None:
        """One bank account, after whoever is changing it has finished: for who is about to send a recorded payment."""
        async with transaction(self.engine) as connection:
            row = (await connection.execute(_SHARED, {"id": bank_account_id.uuid})).first()
        return self._read(row) if row else None

    async def bank_accounts(self, user_id: UserId) -> list[BankAccount]:
        """All accounts that a user has or had, oldest first."""
        async with reading(self.engine) as connection:
            return [self._read(row) for row in await connection.execute(_OF_USER, {"id": user_id.uuid})]

    async def bank_account_changes(self, bank_account_id: BankAccountId) -> list[BankAccountChange]:
        """Every status that a link has had, oldest first."""
        async with reading(self.engine) as connection:
            rows = await connection.execute(_CHANGES, {"id": bank_account_id.uuid})
            return [
                BankAccountChange(
                    status=BankAccountStatus(row.status), by=row.changed_by, reason=row.reason, at=row.created_at
                )
                for row in rows
            ]

    # -- inside a transaction --------------------------------------------------------------------

    async def insert(
        self, connection: AsyncConnection, new: NewBankAccount, status: BankAccountStatus, reason: str
    ) -> BankAccount:
        """The account, new or as it was linked before."""
        bank_account_id = BankAccountId.new(new.user_id.bucket)
        parameters = {
            "bank_account_id": bank_account_id.uuid,
            "client_id": new.client_id.uuid,
            "user_id": new.user_id.uuid,
            "bank": new.bank,
            "holder_name": new.holder_name,
            "mask": new.mask,
            "status": status,
            **self._sealed(bank_account_id, new.account_token),
        }
        if (await connection.execute(_ADD, parameters)).first() is not None:
            await _note(connection, bank_account_id, status, "platform", reason)
        return self._read((await connection.execute(_SAME, parameters)).one())

    async def lock(self, connection: AsyncConnection, bank_account_id: BankAccountId) -> BankAccount:
        """The account, for this transaction alone. Raises NotFound."""
        row = (await connection.execute(_LOCKED, {"id": bank_account_id.uuid})).first()
        if row is None:
            raise NotFound(f"There is no bank account {bank_account_id}.")
        return self._read(row)

    async def become(
        self,
        connection: AsyncConnection,
        bank_account_id: BankAccountId,
        status: BankAccountStatus,
        by: str,
        reason: str,
    ) -> BankAccount:
        """Move a locked account to a status that it may have, and record why."""
        await connection.execute(_MOVE, {"id": bank_account_id.uuid, "status": status})
        await _note(connection, bank_account_id, status, by, reason)
        return self._read((await connection.execute(_ONE, {"id": bank_account_id.uuid})).one())

    async def _link_token(self, connection: AsyncConnection, link_id: UUID) -> str:
        kept = str((await connection.execute(_LINK_TOKEN, {"id": link_id})).scalar_one())
        return self.cipher.decrypt(kept, link_place(link_id))

    def _sealed(self, bank_account_id: BankAccountId, account_token: str) -> dict[str, object]:
        return {
            "account_token": self.cipher.encrypt(account_token, token_place(bank_account_id.uuid)),
            "token_digest": sha256(account_token.encode()).digest(),
        }

    def _read(self, row: Row[tuple[object, ...]]) -> BankAccount:
        kept = row.account_token
        return BankAccount(
            bank_account_id=BankAccountId.of(row.bank_account_id),
            client_id=ClientId.of(row.client_id),
            user_id=UserId.of(row.user_id),
            bank=row.bank,
            account_token="" if kept is None else self.cipher.decrypt(kept, token_place(row.bank_account_id)),
            holder_name=row.holder_name,
            mask=row.mask,
            status=BankAccountStatus(row.status),
            status_since=row.status_since,
            created_at=row.created_at,
        )


def link_place(link_id: UUID) -> str:
    """Where a link token is kept, as its encryption is bound to it."""
    return f"bank_links.link_token:{link_id}"


def token_place(bank_account_id: UUID) -> str:
    """Where an account token is kept, as its encryption is bound to it."""
    return f"bank_accounts.account_token:{bank_account_id}"


async def _note(
    connection: AsyncConnection, bank_account_id: BankAccountId, status: BankAccountStatus, by: str, reason: str
) -> None:
    parameters = {"id": bank_account_id.uuid, "status": status, "by": by, "reason": reason}
    await connection.execute(_NOTE, parameters)
