"""Settings of the command line: the services' own or, where these name no database, the running local stack's."""

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from common.settings import DatabaseSettings, RedisSettings, ServiceSettings
from worker.local_stack import LocalStack


class CliSettings(ServiceSettings):
    """Everything the commands read."""

    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *args: PydanticBaseSettingsSource, **kwargs: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the services' sources, and the local stack after them."""
        return *super().settings_customise_sources(settings_cls, *args, **kwargs), LocalStack(settings_cls)


def read_settings() -> CliSettings:
    """Read the settings.

    Raises:
        ConfigurationError: settings are wrong, or the local stack's connection file can't be read.
    """
    return CliSettings()
