"""SQL files as migrations run them."""

from pathlib import Path

import psycopg
from alembic import op


def shard_number() -> int | None:
    """Which shard is being migrated; None for a database that has the history alone."""
    config = op.get_context().config
    assert config is not None
    number: int | None = config.attributes["shard"]
    return number


def run_script(name: str) -> None:
    """Run `sql/NAME.sql` in the migration's transaction."""
    connection = op.get_bind().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    # The driver itself, so that percent signs in SQL are not taken for parameters.
    connection.execute((Path(__file__).parent / "sql" / f"{name}.sql").read_text().encode())
