"""Names in the embedded PostgreSQL."""

OWNER = "sagapay_owner"
APPLICATION = "sagapay_app"
DATABASE = "sagapay"


def database_of(shard: int) -> str:
    """The database of a shard; the first has the plain name, which it had when it was the only one."""
    return f"{DATABASE}_{shard}" if shard else DATABASE
