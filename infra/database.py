"""PostgreSQL: engines, and the one place that says which failures mean "the database is not there"."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from domain.errors import LedgerUnavailable
from infra.settings import Settings


def make_engine(url: str, settings: Settings, *, application_name: str = "sagapay") -> AsyncEngine:
    """An engine for one database; connects when first used."""
    timeout_ms = int(settings.database_timeout_seconds * 1000)
    return create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=settings.database_timeout_seconds,
        pool_pre_ping=False,
        pool_use_lifo=True,
        connect_args={
            "application_name": application_name,
            "connect_timeout": 5,
            "options": f"-c statement_timeout={timeout_ms} -c idle_in_transaction_session_timeout={2 * timeout_ms} "
            "-c timezone=UTC -c jit=off",
            "prepare_threshold": 2,
        },
    )


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


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in autocommit for single reads: no BEGIN and COMMIT to pay for. Raises LedgerUnavailable."""
    with outages_named():
        async with engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")
