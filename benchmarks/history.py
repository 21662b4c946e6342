"""`python -m benchmarks.history [--quick]`: pages of a history of a million lines, among as many of other wallets.

Times are those of the whole query, with the way to the database and back on one connection of this process.
"""

import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Final

import psycopg
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.__main__ import publish
from benchmarks.figures import Figure, Figures
from benchmarks.report import where_and_when
from benchmarks.trial import percentile
from domain.ids import TransactionId, WalletId
from domain.transactions import TransactionKind, TransactionStatus
from events.history import HistoryFilter, list_transactions
from events.history_databases import HistoryDatabases
from tests.stack.servers import running_servers

LINES: Final = 1_000_000
ROUNDS: Final = 500
QUICK_ROUNDS: Final = 200
SLOW_ROUNDS: Final = 5
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
ANYWHERE: Final = "history_page_anywhere"
SLOW: Final = "history_amount_of_none"
"""All lines are read for it, and nothing is promised."""
ASKED: Final = {
    "history_newest_page": HistoryFilter(),
    ANYWHERE: HistoryFilter(),
    "history_failed_1_in_100": HistoryFilter(status=TransactionStatus.FAILED),
    "history_counterparty_1_in_1000": HistoryFilter(counterparty_id=RARE),
    "history_word_of_all": HistoryFilter(memo="lunch"),
    "history_word_1_in_10000": HistoryFilter(memo="rare"),
    "history_amount_1_in_100": HistoryFilter(min_amount=4951),
    "history_kind_of_none": HistoryFilter(kind=TransactionKind.DEPOSIT),
    SLOW: HistoryFilter(min_amount=5001),
}
P99_TARGET: Final = 20.0


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


async def measured(call: Callable[[], Awaitable[int]], rounds: int) -> list[float]:
    """How long each of so many calls took, in milliseconds."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1000)
    return took


async def measure(engine: AsyncEngine, rounds: int, command: str) -> Figures:
    """Each question, many times."""
    anywhere = [found.transaction_id for found in await list_transactions(engine, WALLET, None, LINES)][::997]
    figures: Figures = {}
    for name, wanted in ASKED.items():
        places: list[TransactionId | None] = list(anywhere) if name == ANYWHERE else [None]

        async def call(wanted: HistoryFilter = wanted, places: list[TransactionId | None] = places) -> int:
            return len(await list_transactions(engine, WALLET, random.choice(places), PAGE, wanted))

        took = await measured(call, SLOW_ROUNDS if name == SLOW else rounds)
        figures[f"{name}_p50"] = Figure.of(percentile(took, 50), "ms", "lower", command)
        figures[f"{name}_p99"] = Figure.of(
            percentile(took, 99), "ms", "lower", command, None if name == SLOW else P99_TARGET
        )
    return figures


async def main(rounds: int, command: str) -> Figures:
    """A PostgreSQL of its own, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="sagapay-bench-history-"))
    try:
        with running_servers(home / "servers") as servers:
            import_module("migrations").upgrade_all(servers.settings.migration_urls)
            say(f"{LINES:,} lines of one wallet, {LINES:,} of 10,000 others; {rounds:,} pages of {PAGE - 1} ...")
            await asyncio.to_thread(fill, servers.settings.migration_urls[0])
            databases = HistoryDatabases(servers.settings)
            try:
                return await measure(databases.of(WALLET).engine, rounds, command)
            finally:
                await databases.aclose()
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    load_before, quick = os.getloadavg()[0], "--quick" in sys.argv
    told = "make bench-history QUICK=1" if quick else "make bench-history"
    publish(
        "history",
        asyncio.run(main(QUICK_ROUNDS if quick else ROUNDS, told)),
        where_and_when(told, load_before),
        Console(),
        instead_of=("history_",),
    )
