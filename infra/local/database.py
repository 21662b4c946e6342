"""The database and its two roles in the embedded PostgreSQL."""

import psycopg

from infra.local.names import APPLICATION, DATABASE, OWNER


def _connect(port: int) -> psycopg.Connection:
    return psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=2, autocommit=True)


def answers(port: int) -> bool:
    """Whether it takes sessions; while it replays its log it accepts connections and refuses sessions."""
    try:
        _connect(port).close()
    except psycopg.Error:
        return False
    return True


def ensure_database(port: int) -> None:
    """The owner's role may change tables; the application's may not, which the migrations' grants rely on.

    Raises RuntimeError.
    """
    try:
        with _connect(port) as connection:
            for role in (OWNER, APPLICATION):
                if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
                    connection.execute(f"CREATE ROLE {role} LOGIN")
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
                connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    except psycopg.Error as error:
        raise RuntimeError(f"the database and its roles could not be made: {error}") from error
