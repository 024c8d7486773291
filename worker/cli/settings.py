"""Settings of the command line: the services' environment or, where there is none, the running local stack's."""

import os
from typing import Any

from common.connection_file import find_connection
from common.settings import DatabaseSettings, RedisSettings, ServiceSettings

_DATABASE_URL = "DATABASE__URL"
_REDIS_URL = "REDIS__URL"


class CliSettings(ServiceSettings):
    """Everything the commands read from the environment."""

    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()


def read_settings() -> CliSettings:
    """Read the environment; the local stack's stores are used only when it names no database.

    Raises:
        ValidationError: a variable is no valid setting.
        ConfigurationError: the local stack's connection file can't be read.
    """
    if _DATABASE_URL in os.environ:
        return CliSettings()
    local = {name: value for name, value in find_connection().items() if name not in os.environ}
    given: dict[str, Any] = {}
    if _DATABASE_URL in local:
        given["database"] = {"url": local[_DATABASE_URL]}
    if _REDIS_URL in local:
        given["redis"] = {"url": local[_REDIS_URL]}
    return CliSettings(**given)  # merged with the rest of the environment
