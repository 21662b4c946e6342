"""PostgreSQL: engines, and the one place that says which failures mean "the database is not there"."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from domain.errors import LedgerUnavailable
from infra.settings import Settings


def make_engine(
    url: str, settings: Settings, *, application_name: str = "sagapay", plans_anew: bool = False
) -> AsyncEngine:
    """An engine for one database; connects when first used.

    With `plans_anew` each query is planned for its own values: where the best way depends on how common a value is.
    """
    timeout_ms = int(settings.database_timeout_seconds * 1000)
    return create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=settings.database_timeout_seconds,
        pool_pre_ping=False,
        pool_use_lifo=True,
        hide_parameters=True,  # What a statement carries (names, memos) has no place in logs and workflow histories.
        connect_args={
            "application_name": application_name,
            "connect_timeout": 5,
            "options": f"-c statement_timeout={timeout_ms} -c idle_in_transaction_session_timeout={2 * timeout_ms} "
            f"-c timezone=UTC -c jit=off{' -c plan_cache_mode=force_custom_plan' if plans_anew else ''}",
            "prepare_threshold": 2,
        },
    )


def ask_first(engine: AsyncEngine, question: str, check: Callable[[tuple[Any, ...] | None], None]) -> None:
    """Before this process uses a database: hand the first row of `question` to `check`, whose errors pass through."""
    asked = False

    def ask(connection: Any, _record: object) -> None:  # noqa: ANN401  -- the driver's, as SQLAlchemy adapts it
        nonlocal asked
        if asked:
            return
        cursor = connection.cursor()
        try:
            cursor.execute(question)
            check(cursor.fetchone())
            cursor.close()
            connection.rollback()
        except BaseException:
            connection.close()
            raise
        asked = True

    event.listen(engine.sync_engine, "connect", ask)


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, PoolTimeoutError | OSError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return isinstance(error, psycopg.OperationalError)


@contextmanager
def outages_named() -> Iterator[None]:
    """Turn a lost, refused or overloaded database into LedgerUnavailable; what else goes wrong passes through.

    After an outage in a commit its outcome is unknown: only repeating the same keys settles it.
    """
    try:
        yield
    except (DBAPIError, PoolTimeoutError, OSError, psycopg.Error) as error:
        if _is_outage(error):
            raise LedgerUnavailable(f"The ledger's database does not answer ({type(error).__name__}).") from error
        raise


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One database transaction: committed at the end of the block. Raises LedgerUnavailable."""
    with outages_named():
        async with engine.begin() as connection:
            yield connection


Statement = tuple[str, Mapping[str, object]]
"""SQL as the driver wants it, with `%(name)s` for named parameters, and their values."""

_BEGIN: Final = b"BEGIN ISOLATION LEVEL READ COMMITTED"
_COMMIT: Final = b"COMMIT"


class Pipeline:
    """A connection whose statements are sent together: one round trip for all of them, in one transaction.

    The transaction's BEGIN goes out with its first statements and its COMMIT with the last: the driver's own would each
    wait for an answer. Therefore the connection is in autocommit.
    """

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self._driver = driver
        self._begun = False
        self.committing = False
        """Whether a commit was sent: after an outage its outcome is unknown."""

    async def run(self, *statements: Statement) -> list[list[Any]]:
        """Run statements that return rows; the rows of each, as named tuples."""
        # What is asked for its rows before the pipeline's end would be waited for by itself.
        return [await cursor.fetchall() for cursor in await self._together(statements)]

    async def run_and_commit(self, *statements: Statement) -> None:
        """Run statements that return none, and commit with them."""
        self.committing = True
        await self._together(statements, commit=True)

    async def _together(
        self, statements: Sequence[Statement], *, commit: bool = False
    ) -> list[psycopg.AsyncCursor[Any]]:
        async with self._driver.pipeline():
            if not self._begun:
                await self._driver.execute(_BEGIN, prepare=False)
                self._begun = True
            cursors = [await self._send(statement) for statement in statements]
            if commit:
                await self._driver.execute(_COMMIT, prepare=False)
        return cursors

    async def _send(self, statement: Statement) -> psycopg.AsyncCursor[Any]:
        sql, values = statement
        return await self._driver.cursor(row_factory=namedtuple_row, binary=True).execute(sql.encode(), values)


@asynccontextmanager
async def pipelined(engine: AsyncEngine) -> AsyncIterator[Pipeline]:
    """A connection for statements that go together; what is not committed is rolled back. Raises LedgerUnavailable."""
    with outages_named():
        async with engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert isinstance(driver, psycopg.AsyncConnection)
            try:
                await driver.set_autocommit(True)
                yield Pipeline(driver)
            except psycopg.OperationalError:
                if driver.closed:
                    # SQLAlchemy has to meet this end, too: then it lets go of every connection as old as this one.
                    with suppress(DBAPIError):
                        await connection.exec_driver_sql("SELECT 1")
                raise
            finally:
                if not driver.closed:
                    await driver.rollback()
                    await driver.set_autocommit(False)


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in autocommit for single reads: no BEGIN and COMMIT to pay for. Raises LedgerUnavailable."""
    with outages_named():
        async with engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")
