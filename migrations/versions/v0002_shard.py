"""Each database knows which shard it is."""

from migrations.scripts import run_script, shard_number

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of one row."""
    if shard_number() is not None:
        run_script("0002_shard")
