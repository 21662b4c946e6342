"""The databases and their two roles in the embedded PostgreSQL."""

import psycopg

from infra.local.names import APPLICATION, OWNER, database_of


def _connect(port: int) -> psycopg.Connection:
    return psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=2, autocommit=True)


def answers(port: int) -> bool:
    """Whether it takes sessions; while it replays its log it accepts connections and refuses sessions."""
    try:
        _connect(port).close()
    except psycopg.Error:
        return False
    return True


def ensure_databases(port: int, shards: int) -> None:
    """One for each shard. The owner's role may change tables; the application's may not, as the grants want it.

    Raises RuntimeError.
    """
    try:
        with _connect(port) as connection:
            for role in (OWNER, APPLICATION):
                if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
                    connection.execute(f"CREATE ROLE {role} LOGIN")
            for name in map(database_of, range(shards)):
                if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount:
                    connection.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
    except psycopg.Error as error:
        raise RuntimeError(f"the databases and their roles could not be made: {error}") from error
