"""Statements that are sent together, when they are larger than what the network takes at once."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import psycopg
import pytest

from infra.database import Pipeline
from tests.money.scratch import Database

SENT_AT_ONCE = 65_536
LARGE = "x" * 4_000_000
TABLE = "CREATE TABLE large (text text); GRANT SELECT, INSERT ON large TO sagapay_app"


@pytest.fixture
async def narrow(database: Database) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection whose socket takes little before the other side has read it."""
    with database.connect() as owner:
        owner.execute(TABLE.encode())
    async with await psycopg.AsyncConnection.connect(database.url(), prepare_threshold=2) as connection:
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AT_ONCE)
        yield connection


async def test_a_large_statement_is_sent_to_its_end(narrow: psycopg.AsyncConnection) -> None:
    pipeline = Pipeline(narrow)
    length = ("SELECT length(%(text)s::text), %(text)s::text", {"text": LARGE})
    async with asyncio.timeout(30):
        for _ in range(4):  # The last ones are prepared.
            (((first, back),), ((second, _),)) = await pipeline.run(length, length)
            assert (first, second, back) == (len(LARGE), len(LARGE), LARGE)
        await pipeline.run_and_commit(("INSERT INTO large VALUES (%(text)s)", {"text": LARGE}))
        (((stored,),),) = await pipeline.run(("SELECT sum(length(text)) FROM large", {}))
    assert stored == len(LARGE)
