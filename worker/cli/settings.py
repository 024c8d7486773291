"""Settings of the command line: the services' own or, where these name no database, the running local stack's."""

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from common.connection_file import find_connection
from common.settings import DatabaseSettings, RedisSettings, ServiceSettings


class _LocalStack(PydanticBaseSettingsSource):
    """The running local stack's stores, if no other place names a database: those of two deployments don't mix."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Return nothing: groups are read as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        if "url" in self.current_state.get("database", {}):
            return {}
        connection = find_connection()
        addresses = {"database": connection.get("DATABASE__URL"), "redis": connection.get("REDIS__URL")}
        return {group: {"url": address} for group, address in addresses.items() if address is not None}


class CliSettings(ServiceSettings):
    """Everything the commands read."""

    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *args: PydanticBaseSettingsSource, **kwargs: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the services' sources, and the local stack after them."""
        return *super().settings_customise_sources(settings_cls, *args, **kwargs), _LocalStack(settings_cls)


def read_settings() -> CliSettings:
    """Read the settings.

    Raises:
        ConfigurationError: settings are wrong, or the local stack's connection file can't be read.
    """
    return CliSettings()
