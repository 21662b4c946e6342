"""Idempotency keys of POSTs that write to the directory: one key, one resource, for ever."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.contracts.payments import IdempotencyRecord
from domain.errors import IdempotencyKeyReused

_CLAIM = text("""
    INSERT INTO directory.request_keys (key_digest, fingerprint, resource_id)
    VALUES (:key_digest, :fingerprint, :resource_id) ON CONFLICT (key_digest) DO NOTHING RETURNING resource_id
""")
_CLAIMED = text("SELECT fingerprint, resource_id FROM directory.request_keys WHERE key_digest = :key_digest")


async def claim(connection: AsyncConnection, key: IdempotencyRecord, resource_id: UUID) -> UUID | None:
    """Record the key for this resource; the other resource that it has made, if it was used. Raises
    IdempotencyKeyReused.

    The unique index waits for whoever uses the same key right now, so one of two racers sees the other's resource.
    """
    parameters = {
        "key_digest": bytes.fromhex(key.key_digest),
        "fingerprint": bytes.fromhex(key.fingerprint),
        "resource_id": resource_id,
    }
    if (await connection.execute(_CLAIM, parameters)).first() is not None:
        return None
    return await find_claim(connection, key)


async def find_claim(connection: AsyncConnection, key: IdempotencyRecord) -> UUID | None:
    """The resource that a key has made, if it was used. Raises IdempotencyKeyReused."""
    row = (await connection.execute(_CLAIMED, {"key_digest": bytes.fromhex(key.key_digest)})).first()
    if row is None:
        return None
    if row.fingerprint != bytes.fromhex(key.fingerprint):
        raise IdempotencyKeyReused
    return UUID(int=row.resource_id.int)
