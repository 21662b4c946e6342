"""The foundation: the ledger on every shard; beside shard 0 the directory, the history, the webhooks and the
notifications. A database of the history has that alone."""

from typing import Final

from migrations.scripts import run_script, shard_number

revision = "0001"
down_revision = None

_FIRST_SHARD: Final = ("ledger", "directory", "history", "webhooks", "notifications")


def upgrade() -> None:
    """Create the schemas that belong here."""
    for name in {0: _FIRST_SHARD, None: ("history",)}.get(shard_number(), ("ledger",)):
        run_script(f"0001_{name}")
