"""Where settings are read from: the environment, a `.env` file, a YAML file, and files with secrets.

The environment goes first, then `.env` in the working directory (`LIKENESS_ENV_FILE` names another; empty: none), then
the YAML file that `LIKENESS_CONFIG` names, in the environment or in `.env`. What a place sets stands as a whole:
objects and lists are not merged with those of a later place.

A secret may be given by `…_FILE` instead, which names a file with the value; one place must not give both. All places
are shared by all services, so what belongs to another service is fine. What belongs to none is told: it is a typo.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, PydanticBaseSettingsSource

from common.settings_reference import variables
from common.settings_typos import find_keys, find_names
from common.settings_yaml import read_yaml

ENVIRONMENT: Final = "environment"
"""What the first place is called; the others are called by their files' names."""
_CONFIG: Final = "likeness_config"
_ENV_FILE: Final = "likeness_env_file"
_FILE: Final = "_file"


@dataclass(frozen=True, slots=True)
class Reading:
    """What came up while the settings were read.

    Attributes:
        problems: in words, each with the setting's name and the place it is from.
        spelled: by group and key how a setting is written where it was found, and where that is.
        places: by group and key what the place is called that a setting was found in.
    """

    problems: list[str] = field(default_factory=list)
    spelled: dict[tuple[str, str], str] = field(default_factory=dict)
    places: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """One place that settings are read from: what it is called, how a setting is written there, and what it sets."""

    title: str
    spell: Callable[[str, str], str]
    groups: Mapping[str, Any]

    def name(self, group: str, key: str) -> str:
        """Return how a setting is written here, and where that is."""
        return f"{self.spell(group, key)} ({self.title})"


class PlaceSource(PydanticBaseSettingsSource):
    """A place as pydantic-settings wants it. What an earlier one has set is passed over."""

    def __init__(self, settings_cls: type[BaseSettings], place: Place, reading: Reading) -> None:
        super().__init__(settings_cls)
        self._place = place
        self._reading = reading

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Return nothing: groups are read as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what the place sets, group by group."""
        groups = dict.fromkeys(variable.path[0] for variable in variables(self.settings_cls))
        found = {group: self._place.groups.get(group) for group in groups}
        return {group: self._read(group, given) for group, given in found.items() if given is not None}

    def _read(self, group: str, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given  # its validation says what is wrong with it
        earlier = self.current_state.get(group)
        settled = earlier if isinstance(earlier, Mapping) else {}
        values: dict[str, Any] = {}
        for variable in variables(self.settings_cls):
            key = variable.path[1]
            if variable.path[0] != group or key in settled:
                continue
            written = key + _FILE if variable.secret and given.get(key + _FILE) else key
            if given.get(written) is None:  # in YAML, a key and nothing behind it
                continue
            value = given[key] if written == key else self._read_secret(group, key, given)
            values[key] = None if variable.optional and value == "" else value
            self._reading.spelled[variable.path] = self._place.name(group, written)
            self._reading.places[variable.path] = self._place.title
        return values

    def _read_secret(self, group: str, key: str, given: Mapping[str, Any]) -> str:
        """Return the text of a secret's file; empty if there is a problem with it.

        Problems do not quote the path: it may be the secret itself, set under the wrong name.
        """
        try:
            if given.get(key):
                raise ValueError("is set beside the value itself; keep one of the two")
            return _read_text(given[key + _FILE])
        except ValueError as error:
            self._reading.problems.append(f"{self._place.name(group, key + _FILE)}: {error}")
            return ""


def _read_text(path: Any) -> str:
    """Return what a file says, without the end of its last line; raises `ValueError` if that is nothing."""
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"the file can't be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ValueError("has to name a file with text") from None
    if not text:
        raise ValueError("the file is empty")
    return text


class _Texts:
    """A mixin of sources: what is no JSON stays text, and validation says what it should have been."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return what the JSON says, or the text as it is."""
        try:
            return super().decode_complex_value(field_name, field, value)  # type: ignore[misc] # of the source
        except ValueError:
            return value


class _Environment(_Texts, EnvSettingsSource):
    pass


class _EnvFile(_Texts, DotEnvSettingsSource):
    pass


def create_sources(settings_cls: type[BaseSettings], reading: Reading) -> tuple[PlaceSource, ...]:
    """Return the sources of a service's settings, the first of which goes first; `reading` learns what comes up."""
    environment = _Environment(settings_cls)
    env_file = _read_env_file(settings_cls, environment.env_vars.get(_ENV_FILE), reading)
    named = environment.env_vars.get(_CONFIG, env_file.env_vars.get(_CONFIG))
    config = _read_config(named, reading)
    places = [
        Place(ENVIRONMENT, _as_variable, _read_groups(environment)),
        Place(str(env_file.env_file), _as_variable, _read_groups(env_file)),
        Place(str(named), _as_key, config),
    ]
    typos = [
        find_names(environment.env_vars, settings_cls),
        find_names(env_file.env_vars, settings_cls),
        find_keys(config, settings_cls),
    ]
    for place, found in zip(places, typos, strict=True):
        reading.problems.extend(f"{name} ({place.title}): {problem}" for name, problem in found)
    return tuple(PlaceSource(settings_cls, place, reading) for place in places)


def _read_groups(source: EnvSettingsSource) -> Mapping[str, Any]:
    """Return what variables set, by the group's one name: pydantic-settings takes the attribute's for another."""
    keys = {name: field.alias or name for name, field in source.settings_cls.model_fields.items()}
    named = set(map(_group_of, source.env_vars))
    return {key: group for name, group in source().items() if (key := keys.get(name, name)) in named}


def _group_of(variable: str) -> str:
    return variable.partition("__")[0]


def _read_env_file(settings_cls: type[BaseSettings], named: str | None, reading: Reading) -> _EnvFile:
    path = Path(".env" if named is None else named).expanduser()
    try:
        if named and not path.exists():
            raise FileNotFoundError(None, "no such file")
        return _EnvFile(settings_cls, env_file=None if named == "" else path, dotenv_filtering="only_existing")
    except OSError as error:
        reading.problems.append(f"{_ENV_FILE.upper()}: can't read {path}: {error.strerror}")
    except UnicodeDecodeError:
        reading.problems.append(f"{_ENV_FILE.upper()}: {path} is no text")
    return _EnvFile(settings_cls, env_file=None)


def _read_config(named: str | None, reading: Reading) -> Mapping[str, Any]:
    try:
        return read_yaml(Path(named).expanduser()) if named else {}
    except OSError as error:
        reading.problems.append(f"{_CONFIG.upper()}: can't read {named}: {error.strerror}")
    except ValueError as error:
        reading.problems.append(f"{_CONFIG.upper()}: {named} {error}")
    return {}


def _as_variable(group: str, key: str) -> str:
    return f"{group}__{key}".upper()


def _as_key(group: str, key: str) -> str:
    return f"{group}.{key}"
