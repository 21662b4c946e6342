"""Transfer batches and their items."""

from migrations.scripts import run_script, shard_number

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the two tables."""
    if shard_number() is not None:
        run_script("0003_batches")
