"""The foundation: ledger, directory and history."""

from pathlib import Path

import psycopg
from alembic import op

revision = "0001"
down_revision = None

_SQL = Path(__file__).parent.parent / "sql"


def _driver() -> psycopg.Connection:
    connection = op.get_bind().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


def upgrade() -> None:
    """Create the three schemas."""
    for name in ("ledger", "directory", "history"):
        # The driver itself, so that percent signs in SQL are not taken for parameters.
        _driver().execute((_SQL / f"0001_{name}.sql").read_text())
