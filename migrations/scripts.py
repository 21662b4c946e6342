"""SQL files as migrations run them."""

from pathlib import Path

import psycopg
from alembic import op


def run_script(name: str) -> None:
    """Run `sql/NAME.sql` in the migration's transaction."""
    connection = op.get_bind().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    # The driver itself, so that percent signs in SQL are not taken for parameters.
    connection.execute((Path(__file__).parent / "sql" / f"{name}.sql").read_text().encode())
