"""The inbox of what banks have sent: stored before anything is done about it, each event once, for ever.

It is beside the first shard, in the directory. What a bank wrote is kept encrypted: nobody knows what it may name.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.bank_events import BankEventOutcome
from domain.ids import new_uuid
from infra.database import reading, transaction
from infra.secrets import Cipher

_STORE: Final = text("""
    INSERT INTO directory.bank_events (inbox_id, bank, event_id, type, reference, body, occurred_at)
    VALUES (:inbox_id, :bank, :event_id, :type, :reference, :body, :occurred_at)
    ON CONFLICT (bank, event_id) DO NOTHING RETURNING inbox_id
""")
_WAITING: Final = text("""
    SELECT inbox_id, bank, event_id, type, reference FROM directory.bank_events
    WHERE outcome IS NULL AND due_at <= now() ORDER BY due_at, inbox_id LIMIT :limit
""")
_DONE: Final = text("""
    UPDATE directory.bank_events SET outcome = :outcome, handled_at = now() WHERE inbox_id = :id AND outcome IS NULL
""")
_PUT_OFF: Final = text("""
    UPDATE directory.bank_events SET due_at = now() + make_interval(secs => :seconds)
    WHERE inbox_id = :id AND outcome IS NULL
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """What a bank has sent, and what its adapter read in it."""

    bank: str
    event_id: str
    type: str
    reference: str | None
    occurred_at: datetime
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event that waits to be acted on."""

    inbox_id: UUID
    bank: str
    event_id: str
    type: str
    reference: str | None


class BankEvents:
    """Stored events. `engine` is the first shard's database. Every method raises LedgerUnavailable."""

    def __init__(self, engine: AsyncEngine, cipher: Cipher) -> None:
        self._engine = engine
        self._cipher = cipher

    async def store(self, event: NewEvent) -> bool:
        """Keep an event; False if it was kept before, as it was then."""
        inbox_id = new_uuid(0)
        parameters = {
            "inbox_id": inbox_id,
            "bank": event.bank,
            "event_id": event.event_id,
            "type": event.type,
            "reference": event.reference,
            "body": self._cipher.encrypt(event.body, f"bank_events.body:{inbox_id}"),
            "occurred_at": event.occurred_at,
        }
        async with transaction(self._engine) as connection:
            return (await connection.execute(_STORE, parameters)).first() is not None

    async def waiting(self, limit: int) -> list[StoredEvent]:
        """Events that are due and were not acted on, the longest due first."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(_WAITING, {"limit": limit})
            return [
                StoredEvent(
                    inbox_id=row.inbox_id,
                    bank=row.bank,
                    event_id=row.event_id,
                    type=row.type,
                    reference=row.reference,
                )
                for row in rows
            ]

    async def done(self, event: StoredEvent, outcome: BankEventOutcome) -> None:
        """Record what was done about an event. The first to record it wins."""
        async with transaction(self._engine) as connection:
            await connection.execute(_DONE, {"id": event.inbox_id, "outcome": outcome})

    async def put_off(self, event: StoredEvent, by: timedelta) -> None:
        """Let an event wait for so long."""
        async with transaction(self._engine) as connection:
            await connection.execute(_PUT_OFF, {"id": event.inbox_id, "seconds": by.total_seconds()})
