"""Transfer batches and their items."""

from migrations.scripts import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the two tables."""
    run_script("0003_batches")
