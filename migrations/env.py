"""Alembic's entry point: one connection, one lock, one transaction for all pending versions."""

from alembic import context
from sqlalchemy import create_engine, pool, text

MIGRATION_LOCK = 7_242_001


def run() -> None:
    """Run the pending versions on the database that `migrations.upgrade` names."""
    url = context.config.attributes["url"].replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.commit()
        context.configure(connection=connection, version_table="schema_version")
        with context.begin_transaction():
            context.run_migrations()


run()
