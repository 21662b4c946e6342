"""The foundation: the ledger on every shard; beside shard 0 the directory, the history, the webhooks and the
notifications."""

from alembic import op

from migrations.scripts import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the schemas that belong here."""
    for name in ("ledger", "directory", "history", "webhooks", "notifications") if _is_first_shard() else ("ledger",):
        run_script(f"0001_{name}")


def _is_first_shard() -> bool:
    config = op.get_context().config
    assert config is not None
    return bool(config.attributes["shard"] == 0)
