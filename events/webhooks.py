"""The consumer that decides whom an event is sent to: a message for the client, a delivery for each endpoint of it.

Nothing is sent here. What is written here, in the consumer's commit, is sent by events/webhook_sender.py.
"""

from collections.abc import Sequence
from typing import Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import (
    HOLDS_TOPIC,
    TRANSACTIONS_TOPIC,
    WALLETS_TOPIC,
    Envelope,
    HoldEvent,
    TransactionEvent,
    WalletEvent,
)
from domain.webhooks import EVENT_TYPES

# Clients without endpoints have no messages. An endpoint hears of what happened since it was made. One that is disabled
# is sent nothing; its owner can have it afterwards.
_WRITE: Final = text("""
    WITH told AS (
        SELECT t.* FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS t(event_id uuid, client_id uuid, type text, body text, time timestamptz)
        WHERE EXISTS (SELECT FROM directory.webhook_endpoints e WHERE e.client_id = t.client_id)
    ), message AS (
        INSERT INTO webhooks.messages (event_id, client_id, type, body)
        SELECT event_id, client_id, type, body FROM told
        ON CONFLICT DO NOTHING RETURNING event_id
    )
    INSERT INTO webhooks.deliveries (endpoint_id, event_id)
    SELECT e.endpoint_id, told.event_id
    FROM message JOIN told USING (event_id) JOIN directory.webhook_endpoints e USING (client_id)
    WHERE e.status = 'active' AND e.created_at <= told.time
      AND (cardinality(e.event_types) = 0 OR told.type = ANY(e.event_types))
""")


def body_of(envelope: Envelope) -> str:
    """What an app is sent: what happened, without what only the platform needs to know about the way there."""
    told = envelope.model_dump(mode="json", include={"id", "type", "version", "time", "trace", "data"})
    told["timestamp"] = told.pop("time")
    return orjson.dumps(told).decode()


class Webhooks:
    """Writes what is to be sent. Applying an event again changes nothing."""

    name = "webhooks"
    topics = frozenset({TRANSACTIONS_TOPIC, HOLDS_TOPIC, WALLETS_TOPIC})
    types = frozenset(EVENT_TYPES)

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope]) -> None:
        """Write the messages and deliveries of these events, in the caller's database transaction."""
        rows = [
            {
                "event_id": envelope.id.uuid,
                "client_id": envelope.data.client_id.uuid,
                "type": envelope.type,
                "body": body_of(envelope),
                "time": envelope.time,
            }
            for envelope in envelopes
            if isinstance(envelope.data, TransactionEvent | HoldEvent | WalletEvent)
        ]
        if rows:
            await connection.execute(_WRITE, {"rows": orjson.dumps(rows).decode()})
