"""`eval "$(python -m deploy.local.environment)"`: the running stack's stores, for `pg_dump`, `psql` and `rclone`.

The words are those tools' own: PostgreSQL's `PG…`, and a remote of rclone that is called `likeness`.
"""

import shlex
import sys
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from common.connection_file import connection_file, find_connection
from common.errors import ConfigurationError, LikenessError
from deploy.local.postgres import binaries


def tools_environment(services: Mapping[str, str]) -> dict[str, str]:
    """Return what the tools read from the environment, for stores as services are told of them.

    Args:
        services: settings, `DATABASE__URL` and `S3__…`.
    """
    database = urlsplit(services["DATABASE__URL"])
    return {
        "PGHOST": database.hostname or "",
        "PGPORT": str(database.port or 5432),
        "PGUSER": unquote(database.username or ""),
        "PGPASSWORD": unquote(database.password or ""),
        "PGDATABASE": database.path.removeprefix("/"),
        "RCLONE_CONFIG_LIKENESS_TYPE": "s3",
        "RCLONE_CONFIG_LIKENESS_PROVIDER": "Other",
        "RCLONE_CONFIG_LIKENESS_ENDPOINT": services["S3__ENDPOINT"],
        "RCLONE_CONFIG_LIKENESS_ACCESS_KEY_ID": services["S3__ACCESS_KEY"],
        "RCLONE_CONFIG_LIKENESS_SECRET_ACCESS_KEY": services["S3__SECRET_KEY"],
        "BUCKET": services["S3__BUCKET"],
    }


def main() -> None:
    """Print the variables for a shell to take in; PostgreSQL's own tools come first on its path."""
    try:
        services = find_connection()
        if not services:
            raise ConfigurationError(f"there is no {connection_file()}: no local stack is running (`make run`)")
    except LikenessError as error:
        sys.exit(str(error))
    lines = [f"export {name}={shlex.quote(value)}" for name, value in tools_environment(services).items()]
    lines.append(f"export PATH={shlex.quote(str(binaries()))}:$PATH")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
