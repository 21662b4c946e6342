"""Database migrations: `upgrade` brings one database to the newest schema as the role that owns it.

A ledger database is one shard of so many, for ever: a wallet's shard follows from its id and that number, so a database
that was filled under another number would be asked for wallets that live elsewhere.
"""

from collections.abc import Sequence
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config

from domain.errors import SettingsInvalid

_KNOWN = "SELECT to_regclass('ledger.shard') IS NOT NULL"
_CLAIM = "INSERT INTO ledger.shard (number, count) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_MADE_AS = "SELECT number, count FROM ledger.shard"


def upgrade(url: str, shard: int = 0, shards: int = 1) -> None:
    """Migrate the database at `url` (postgresql://OWNER@…), which is or becomes shard `shard` of `shards`.

    Safe to repeat and to race: a lock lets one work. Raises SettingsInvalid for a database that was made as another.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        _demand(connection, url, shard, shards)
        migrate(url, shard)
        connection.execute(_CLAIM, [shard, shards])
        _demand(connection, url, shard, shards)


def upgrade_all(urls: Sequence[str]) -> None:
    """Migrate all shards, in their order. Raises SettingsInvalid."""
    for number, url in enumerate(urls):
        upgrade(url, number, len(urls))


def upgrade_history(url: str) -> None:
    """Migrate a database of the history alone, at `url` (postgresql://OWNER@…). Safe to repeat and to race."""
    migrate(url, None)


def migrate(url: str, shard: int | None, revision: str = "head") -> None:
    """Bring the schema to a revision, whatever shard the database was made as; None is a database of the history."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("version_path_separator", "os")
    config.attributes.update(url=url, shard=shard)
    command.upgrade(config, revision)


def _demand(connection: psycopg.Connection, url: str, shard: int, shards: int) -> None:
    if connection.execute(_KNOWN).fetchone() != (True,):
        return
    made_as = connection.execute(_MADE_AS).fetchone()
    if made_as not in (None, (shard, shards)):
        assert made_as is not None
        raise SettingsInvalid(other_shard(url.rpartition("@")[2], made_as, (shard, shards)))


def other_shard(place: str, made_as: tuple[int, int], asked: tuple[int, int]) -> str:
    """What is wrong with a database that was made as another (shard, of so many), and what to do."""
    (number, count), (shard, shards) = made_as, asked
    return (
        f"SAGAPAY_SHARD_URLS: the database {place} was made as shard {number} of {count}, and the settings say that it "
        f"is shard {shard} of {shards}. Wallets do not move between shards: name the {count} databases it was made "
        f"with, in their order (in the embedded stack SAGAPAY_LOCAL_SHARDS={count}), or begin with empty databases "
        "(`make reset` deletes all local data)."
    )
