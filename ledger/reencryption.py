"""Bringing every secret at rest under the newest key, a page at a time, while the platform runs."""

# Queries are put together of constants of this module alone.
# ruff: noqa: S608

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.database import reading, transaction
from infra.secrets import Cipher

PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Secrets:
    """A column that is encrypted; its values are bound to `{table}.{column}:{id}`."""

    table: str
    key: str
    column: str


SECRETS: Final = (
    Secrets("bank_links", "link_id", "link_token"),
    Secrets("bank_accounts", "bank_account_id", "account_token"),
    Secrets("micro_deposits", "bank_account_id", "amounts"),
    Secrets("bank_events", "inbox_id", "body"),
    Secrets("webhook_endpoints", "endpoint_id", "secret"),
    Secrets("webhook_endpoints", "endpoint_id", "previous_secret"),
)
"""Every encrypted column of the directory."""


async def reencrypt(engine: AsyncEngine, cipher: Cipher) -> int:
    """Encrypt with the newest key what is not; how many values that were. Raises SecretUnreadable, LedgerUnavailable.

    A value that somebody changes meanwhile is left alone: whoever wrote it used the newest key. Repeatable at any time.
    """
    return sum([await _reencrypt(engine, cipher, secrets) for secrets in SECRETS])


async def _reencrypt(engine: AsyncEngine, cipher: Cipher, secrets: Secrets) -> int:
    place = f"{secrets.table}.{secrets.column}"
    older = text(f"""
        SELECT {secrets.key} AS id, {secrets.column} AS kept FROM directory.{secrets.table}
        WHERE {secrets.column} IS NOT NULL AND split_part({secrets.column}, '.', 1) <> :newest LIMIT {PAGE}
    """)
    replace = text(f"""
        UPDATE directory.{secrets.table} SET {secrets.column} = :new
        WHERE {secrets.key} = :id AND {secrets.column} = :kept
    """)
    done = 0
    while True:
        async with reading(engine) as connection:
            rows = (await connection.execute(older, {"newest": cipher.newest})).all()
        if not rows:
            return done
        changes = [
            {
                "id": row.id,
                "kept": row.kept,
                "new": cipher.encrypt(cipher.decrypt(row.kept, f"{place}:{row.id}"), f"{place}:{row.id}"),
            }
            for row in rows
        ]
        async with transaction(engine) as connection:
            await connection.execute(replace, changes)
        done += len(rows)
