"""The running local stack as a place that settings are read from, by commands that are not a part of it."""

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from common.connection_file import find_connection


class LocalStack(PydanticBaseSettingsSource):
    """What the running local stack's api and worker are given, if no other place names a database.

    So the stores of two deployments don't mix.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Return nothing: groups are read as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the groups of settings; an index that another place names is not joined by a second one."""
        if "url" in self._given("database"):
            return {}
        groups: dict[str, Any] = {}
        for name, value in find_connection().items():
            group, _, key = name.lower().partition("__")
            if key and value and group in self.settings_cls.model_fields:  # empty: not set, for whoever is given it
                groups.setdefault(group, {})[key] = value
        if {"url", "path"} & self._given("qdrant").keys():
            groups.pop("qdrant", None)
        return groups

    def _given(self, group: str) -> Mapping[str, Any]:
        """Return what other places say of a group; what is none is refused later."""
        given = self.current_state.get(group)
        return given if isinstance(given, Mapping) else {}
