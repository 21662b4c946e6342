"""Database migrations: `upgrade` brings one database to the newest schema as the role that owns it."""

from pathlib import Path

from alembic import command
from alembic.config import Config


def upgrade(url: str) -> None:
    """Migrate the database at `url` (postgresql://OWNER@…). Safe to repeat and to race: a lock lets one work."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("version_path_separator", "os")
    config.attributes["url"] = url
    command.upgrade(config, "head")
