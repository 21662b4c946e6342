"""`python -m benchmarks.history`: pages of the history of a wallet with a million lines, among as many of others.

Times are those of the whole query, with the way to the database and back on one connection of this process.
"""

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from statistics import quantiles
from typing import Final

import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.ids import TransactionId, WalletId
from domain.transactions import TransactionKind, TransactionStatus
from events.history import HistoryFilter, list_transactions
from infra.database import make_engine
from tests.stack.servers import running_servers

LINES: Final = 1_000_000
ROUNDS: Final = 500
PAGE: Final = 51
WALLET: Final = WalletId("wal_" + "0" * 12 + "7" + "0" * 19)

RARE: Final = WalletId("wal_" + "0" * 12 + "70008" + "0" * 14 + "1")

# Every hundredth failed, a counterparty in a thousand is a rare one, a memo in ten thousand has a rare word.
_FILL: Final = """
    INSERT INTO history.wallet_transactions
    SELECT w.id, ('01900000-' || lpad(to_hex(n / 65536), 4, '0') || '-7' || lpad(to_hex(n %% 4096), 3, '0') || '-8000-'
                  || lpad(to_hex(n), 12, '0'))::uuid,
           'out', 'transfer', CASE WHEN n %% 100 = 0 THEN 'failed' ELSE 'succeeded' END, 1 + n %% 5000, 'USD',
           ('00000000-0000-7000-8000-'
            || lpad(to_hex(CASE WHEN n %% 1000 = 0 THEN 1 ELSE 2 + n %% 50 END), 12, '0'))::uuid,
           NULL, CASE WHEN n %% 10000 = 0 THEN 'a rare lunch' ELSE 'lunch' END, NULL, now(),
           CASE WHEN n %% 10000 = 0 THEN ARRAY[w.hex || ':a', w.hex || ':lunch', w.hex || ':rare']
                ELSE ARRAY[w.hex || ':lunch'] END
    FROM generate_series(1, %(lines)s) n, LATERAL (SELECT %(one)s::uuid AS id, %(hex)s AS hex WHERE %(one)s IS NOT NULL
        UNION ALL SELECT u, replace(u::text, '-', '') FROM (
            SELECT ('00000000-0000-7000-9000-' || lpad(to_hex(n %% 10000), 12, '0'))::uuid AS u) r
        WHERE %(one)s IS NULL) w
"""
ASKED: Final = {
    "the newest page": HistoryFilter(),
    "a page anywhere": HistoryFilter(),
    "failed ones (1 in 100)": HistoryFilter(status=TransactionStatus.FAILED),
    "of one counterparty (1 in 1,000)": HistoryFilter(
        counterparty_id=WalletId("wal_" + "0" * 12 + "70008" + "0" * 14 + "1")
    ),
    "with a word that all have": HistoryFilter(memo="lunch"),
    "with a word that 1 in 10,000 has": HistoryFilter(memo="rare"),
    "above an amount (1 in 100)": HistoryFilter(min_amount=4951),
    "of a kind that there is none of": HistoryFilter(kind=TransactionKind.DEPOSIT),
}


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def fill(url: str) -> None:
    """A million lines of one wallet, and as many of ten thousand others."""
    with psycopg.connect(url, autocommit=True) as connection:
        for one in (str(WALLET.uuid), None):
            connection.execute(_FILL.encode(), {"lines": LINES, "one": one, "hex": WALLET.hex})
        connection.execute(b"VACUUM ANALYZE history.wallet_transactions")


async def measured(call: Callable[[], Awaitable[int]], rounds: int) -> str:
    """p50, p99 and the largest of so many calls, in milliseconds; and the lines of the last page."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        lines = await call()
        took.append((time.perf_counter() - began) * 1000)
    cuts = quantiles(took, n=100)
    return f"p50 {cuts[49]:7.2f} ms   p99 {cuts[98]:7.2f} ms   most {max(took):7.2f} ms   {lines} lines"


async def measure(engine: AsyncEngine) -> None:
    """Each question, many times."""
    anywhere = [found.transaction_id for found in await list_transactions(engine, WALLET, None, LINES)][::997]
    for name, wanted in ASKED.items():
        places: list[TransactionId | None] = list(anywhere) if name == "a page anywhere" else [None]

        async def call(wanted: HistoryFilter = wanted, places: list[TransactionId | None] = places) -> int:
            return len(await list_transactions(engine, WALLET, random.choice(places), PAGE, wanted))

        rare = wanted.kind is not None
        say(f"{name:34} {await measured(call, 5 if rare else ROUNDS)}")


async def main() -> None:
    """A PostgreSQL of its own, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="sagapay-bench-history-"))
    try:
        with running_servers(home / "servers") as servers:
            import_module("migrations").upgrade_all(servers.settings.migration_urls)
            await asyncio.to_thread(fill, servers.settings.migration_urls[0])
            engine = make_engine(servers.settings.shard_urls[0], servers.settings)
            say(f"{LINES:,} lines of one wallet, {LINES:,} of 10,000 others; {ROUNDS:,} pages of {PAGE - 1}")
            await measure(engine)
            await engine.dispose()
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
