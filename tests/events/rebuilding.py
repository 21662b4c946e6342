"""A consumer that knows of accounts only what events say: `python -m tests.events.rebuilding` runs it as a process."""

import asyncio
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import ENTRIES_TOPIC, EntryPostedEvent, Envelope
from events.consumers import ConsumerLoop
from infra.database import make_engine
from infra.role import Life
from infra.settings import settings

REBUILT = """
    CREATE TABLE rebuilt (shard int, account text, credits_less_debits bigint NOT NULL, version bigint NOT NULL,
                          PRIMARY KEY (shard, account));
    GRANT SELECT, INSERT, UPDATE ON rebuilt TO sagapay_app
"""
# An entry that came twice, or without the one before it, changes nothing, and that is not tolerated.
_APPLY = text("""
    INSERT INTO rebuilt AS r SELECT :shard, :account, :amount, 1 WHERE :version = 1
    ON CONFLICT (shard, account) DO NOTHING RETURNING version
""")
_NEXT = text("""
    UPDATE rebuilt SET credits_less_debits = credits_less_debits + :amount, version = version + 1
    WHERE shard = :shard AND account = :account AND version = :version - 1 RETURNING version
""")


class Rebuilder:
    """Adds up entries, account by account, each in its turn. Our own accounts have one id on every shard."""

    name = "rebuilder"
    topics = frozenset({ENTRIES_TOPIC})
    types = frozenset({"entry.posted"})

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope]) -> None:
        for envelope in envelopes:
            entry = envelope.data
            assert isinstance(entry, EntryPostedEvent)
            values = {
                "shard": envelope.shard,
                "account": entry.account_id,
                "amount": entry.amount if entry.side == "CREDIT" else -entry.amount,
                "version": entry.version,
            }
            done = await connection.execute(_APPLY if entry.version == 1 else _NEXT, values)
            assert done.first() is not None, f"{entry.account_id} is not before version {entry.version}"


async def rebuild() -> None:
    """Until killed."""
    engines = [make_engine(url, settings()) for url in settings().shard_urls]
    await ConsumerLoop(Rebuilder(), settings(), engines, Life()).run()


if __name__ == "__main__":
    asyncio.run(rebuild())
