"""Schema migrations: bring a database up to date."""

from alembic import command
from alembic.config import Config

from common.db.revision import SCRIPTS


def alembic_config(database_url: str) -> Config:
    """Return Alembic's configuration for this project's migrations on `database_url`."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str, revision: str = "head") -> None:
    """Migrate up to `revision`. Blocks; not for use inside a running event loop."""
    command.upgrade(alembic_config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    """Migrate down to `revision` (`base` removes everything). Blocks."""
    command.downgrade(alembic_config(database_url), revision)
