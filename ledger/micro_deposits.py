"""Verifying a bank account by the two small amounts that its holder saw: limited tries, and an end on business time.

The amounts are kept encrypted; the account number is not kept at all.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text

from domain.bank_accounts import BankAccountStatus
from domain.contracts.payments import IdempotencyRecord
from domain.errors import CannotLink, MicroDepositsWrong
from domain.ids import BankAccountId
from infra.database import transaction
from ledger.bank_accounts import BankAccount, NewBankAccount
from ledger.directory import Directory
from ledger.request_keys import claim

_ADD: Final = text("""
    INSERT INTO directory.micro_deposits (bank_account_id, amounts, tries_left, expires_at)
    VALUES (:id, :amounts, :tries, :expires_at) ON CONFLICT (bank_account_id) DO NOTHING
""")
_SENT: Final = text("""
    SELECT amounts, tries_left, expires_at FROM directory.micro_deposits WHERE bank_account_id = :id FOR UPDATE
""")
_COUNT: Final = text("""
    UPDATE directory.micro_deposits SET tries_left = tries_left - 1 WHERE bank_account_id = :id RETURNING tries_left
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What was sent (minor units), how often its holder may name it, and until when (business time)."""

    amounts: tuple[int, int]
    tries: int
    expires_at: datetime


class MicroDepositLinks:
    """Bank accounts that are linked by number. Raises LedgerUnavailable as the directory does."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def begin(self, new: NewBankAccount, expected: Expected, key: IdempotencyRecord) -> BankAccount:
        """Keep an account that is not verified yet, once for each key. Raises IdempotencyKeyReused."""
        pending = BankAccountStatus.PENDING_VERIFICATION
        async with transaction(self._directory.engine) as connection:
            kept = await self._directory.insert(connection, new, pending, "micro-deposits were sent")
            await claim(connection, key, kept.bank_account_id.uuid)
            parameters = {
                "id": kept.bank_account_id.uuid,
                "amounts": self._directory.cipher.encrypt(
                    _written(expected.amounts), amounts_place(kept.bank_account_id.uuid)
                ),
                "tries": expected.tries,
                "expires_at": expected.expires_at,
            }
            await connection.execute(_ADD, parameters)
            return kept

    async def confirm(
        self, bank_account_id: BankAccountId, named: tuple[int, int], *, at: datetime, by: str, key: IdempotencyRecord
    ) -> BankAccount:
        """The account, active if these are the amounts. A try counts once for each key, a failed one too.

        Raises NotFound, IdempotencyKeyReused, CannotLink where there is nothing to verify or the time has passed, and
        MicroDepositsWrong.
        """
        async with transaction(self._directory.engine) as connection:
            account = await self._directory.lock(connection, bank_account_id)
            repeated = await claim(connection, key, bank_account_id.uuid) is not None
            if account.status is BankAccountStatus.ACTIVE and repeated:
                return account
            row = (await connection.execute(_SENT, {"id": bank_account_id.uuid})).first()
            if row is None or account.status is not BankAccountStatus.PENDING_VERIFICATION:
                raise CannotLink(f"The bank account is {account.status}; there is nothing to verify.")
            tries_left, becomes, reason = row.tries_left, None, ""
            expected = self._directory.cipher.decrypt(row.amounts, amounts_place(bank_account_id.uuid))
            if at >= row.expires_at:
                becomes, reason = BankAccountStatus.VERIFICATION_FAILED, "not confirmed in time"
            elif not repeated and _written(named) == expected:
                becomes, reason = BankAccountStatus.ACTIVE, "micro-deposits were confirmed"
            elif not repeated:
                tries_left = (await connection.execute(_COUNT, {"id": bank_account_id.uuid})).scalar_one()
                if not tries_left:
                    becomes, reason = BankAccountStatus.VERIFICATION_FAILED, "wrong amounts too often"
            if becomes is not None:
                account = await self._directory.become(connection, bank_account_id, becomes, by, reason)
        # Raised after the commit, which has counted the try.
        if account.status is BankAccountStatus.VERIFICATION_FAILED:
            raise CannotLink(f"The bank account could not be verified: {reason}. Link it anew.")
        if account.status is BankAccountStatus.PENDING_VERIFICATION:
            raise MicroDepositsWrong(f"These are not the amounts that were sent; tries left: {tries_left}.")
        return account


def amounts_place(bank_account_id: UUID) -> str:
    """Where the amounts are kept, as their encryption is bound to it."""
    return f"micro_deposits.amounts:{bank_account_id}"


def _written(amounts: tuple[int, int]) -> str:
    # In whichever order they are named.
    return " ".join(map(str, sorted(amounts)))
