"""One transfer at a time, from the same language and driver: the textbook's statements one by one, and ours."""

import asyncio
import random
import time
from statistics import median

import psycopg
import uvloop

from benchmarks.ledger.postings import Drive, drive
from benchmarks.ledger.server import Server

WARM_UP = 30


def textbook_latency(server: Server, wallets: int, times: int) -> float:
    """The median of a textbook transfer, in seconds, over psycopg."""
    return uvloop.run(_textbook(server, wallets, times))


def our_latency(server: Server, wallets: tuple[str, ...], seconds: float) -> float:
    """The median of a lone posting, in seconds: nobody else asks meanwhile."""
    alone = drive(Drive(server.settings, wallets, 1, seconds))
    return median(alone.latencies[WARM_UP:])


async def _textbook(server: Server, wallets: int, times: int) -> float:
    address = f"postgresql://postgres@127.0.0.1:{server.port}/peers"
    connection = await psycopg.AsyncConnection.connect(address, prepare_threshold=1)
    chance, taken = random.Random(1), []
    for _ in range(times):
        a, b = chance.sample(range(1, wallets + 1), 2)
        began = time.perf_counter()
        await _transfer(connection, a, b)
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(0)
    await connection.close()
    return median(taken[WARM_UP:])


async def _transfer(connection: psycopg.AsyncConnection, a: int, b: int) -> None:
    async with connection.transaction(), connection.cursor() as cursor:

        async def ask(query: str, *values: object) -> int:
            await cursor.execute(query.encode(), values)
            row = await cursor.fetchone()
            assert row is not None
            return int(row[0])

        await ask("SELECT balance FROM textbook.accounts WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [a, b])
        transfer = await ask(
            "INSERT INTO textbook.transfers (key, sender, receiver, amount) "
            "VALUES (gen_random_uuid(), %s, %s, 1) RETURNING id",
            a,
            b,
        )
        after_a = await ask("UPDATE textbook.accounts SET balance = balance - 1 WHERE id = %s RETURNING balance", a)
        after_b = await ask("UPDATE textbook.accounts SET balance = balance + 1 WHERE id = %s RETURNING balance", b)
        await cursor.execute(
            b"INSERT INTO textbook.entries (transfer_id, account_id, amount, balance_after) "
            b"VALUES (%s, %s, -1, %s), (%s, %s, 1, %s)",
            (transfer, a, after_a, transfer, b, after_b),
        )
        await cursor.execute(
            b"INSERT INTO textbook.outbox (data) VALUES (jsonb_build_object('transfer', %s::bigint, 'sender', "
            b"%s::bigint, 'receiver', %s::bigint, 'amount', 1))",
            (transfer, a, b),
        )
