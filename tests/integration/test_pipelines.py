"""Statements that are sent together: how often they wait for an answer, what they leave behind, and large ones."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.database import Pipeline, make_engine, pipelined, transaction
from infra.settings import Settings
from tests.money.scratch import Database

SENT_AT_ONCE = 65_536
LARGE = "x" * 4_000_000
TABLE = "DROP TABLE IF EXISTS large; CREATE TABLE large (text text); GRANT SELECT, INSERT ON large TO sagapay_app"


@pytest.fixture
async def narrow(database: Database) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection whose socket takes little before the other side has read it."""
    with database.connect() as owner:
        owner.execute(TABLE.encode())
    async with await psycopg.AsyncConnection.connect(
        database.url(), autocommit=True, prepare_threshold=2
    ) as connection:
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
        (((stored,),),) = await Pipeline(narrow).run(("SELECT sum(length(text)) FROM large", {}))
    assert stored == len(LARGE)


async def test_a_transaction_waits_twice_for_an_answer(narrow: psycopg.AsyncConnection, tmp_path: Path) -> None:
    """Once for what it reads and once for what it writes: BEGIN and COMMIT travel with them."""
    trace = tmp_path / "trace"
    with trace.open("w") as file:
        narrow.pgconn.trace(file.fileno())
        pipeline = Pipeline(narrow)
        assert await pipeline.run(("SELECT 1", {}), ("SELECT 2", {})) == [[(1,)], [(2,)]]
        await pipeline.run_and_commit(("INSERT INTO large VALUES ('kept')", {}))
        narrow.pgconn.untrace()
    lines = trace.read_text().splitlines()
    answers = [line.split("\t", 2)[2] for line in lines if "ReadyForQuery" in line]
    assert [line.split()[-1] for line in answers] == ["T", "I"], (
        "in a transaction after the first, idle after the second"
    )


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    """One connection, so that what one user leaves behind the next one finds."""
    with database.connect() as owner:
        owner.execute(TABLE.encode())
    made = make_engine(database.url(), Settings(database_pool_size=1))
    yield made
    await made.dispose()


async def _insert_and_divide(engine: AsyncEngine) -> None:
    async with transaction(engine) as connection:
        await connection.execute(text("INSERT INTO large VALUES ('half')"))
        await connection.execute(text("SELECT 1 / 0"))


async def _stored(engine: AsyncEngine) -> set[str]:
    async with pipelined(engine) as pipeline:
        (rows,) = await pipeline.run(("SELECT text FROM large", {}))
    return {word for (word,) in rows}


async def test_what_is_not_committed_is_rolled_back(engine: AsyncEngine) -> None:
    for word in ("first", "second"):
        async with pipelined(engine) as pipeline:
            await pipeline.run(("INSERT INTO large VALUES (%(text)s) RETURNING text", {"text": word}))
            if word == "second":
                await pipeline.run_and_commit()
    assert await _stored(engine) == {"second"}


async def test_what_fails_is_rolled_back_and_the_connection_is_as_good_as_before(engine: AsyncEngine) -> None:
    insert = ("INSERT INTO large VALUES ('half')", {})
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with pipelined(engine) as pipeline:
            await pipeline.run_and_commit(insert, ("SELECT 1 / 0", {}))
    assert await _stored(engine) == set()
    with pytest.raises(DBAPIError):
        await _insert_and_divide(engine)
    assert await _stored(engine) == set()
    async with transaction(engine) as connection:
        await connection.execute(text(insert[0]))
    assert await _stored(engine) == {"half"}
