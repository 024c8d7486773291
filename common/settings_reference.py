"""What can be set: every setting of a service, told from its settings class.

What a wrong value is answered with, `docs/configuration.md` and the check of `compose.yaml` all come from here.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_json, to_jsonable_python
from pydantic_settings import BaseSettings, NoDecode

GENERAL: Final = frozenset({"LIKENESS_CONFIG", "LIKENESS_ENV_FILE"})
"""Variables that say where settings are read from; see `common/settings_sources.py`."""

_FILE: Final = "_FILE"

_TYPES: Final[Mapping[type, tuple[str, str]]] = {
    bool: ("boolean", "`true` or `false`"),
    int: ("integer", ""),
    float: ("number", ""),
    str: ("text", ""),
    Path: ("path", ""),
    time: ("time of day", "`HH:MM`, UTC"),
    timedelta: ("duration", "ISO 8601, such as `P30D` or `PT12H`"),
    dict: ("object", "a JSON object, a mapping in YAML"),
    list: ("list", "a JSON array, a list in YAML"),
}

_BOUNDS: Final[Mapping[type, tuple[str, str]]] = {
    annotated_types.Gt: ("more than", "gt"),
    annotated_types.Ge: ("at least", "ge"),
    annotated_types.Lt: ("less than", "lt"),
    annotated_types.Le: ("at most", "le"),
    annotated_types.MinLen: ("no shorter than", "min_length"),
    annotated_types.MaxLen: ("no longer than", "max_length"),
}


@dataclass(frozen=True, slots=True)
class Variable:
    """A setting, under the name of its environment variable."""

    name: str
    """As in the environment: `S3__SECRET_KEY`."""
    path: tuple[str, str]
    """As in YAML: group and key, `("s3", "secret_key")`."""
    kind: str
    """What its values are: `integer`, `text`, `choice`, …"""
    allowed: str
    """Which of these; empty: each."""
    default: str | None
    """As one would write it; None: nothing is set."""
    secret: bool
    optional: bool
    """Whether it need have no value at all."""
    group: type[BaseModel]

    @property
    def description(self) -> str:
        """What it is for: the docstring below it. Found in the source, so it takes its time."""
        return _docstrings(self.group).get(self.path[1], "")

    @property
    def file(self) -> str | None:
        """The variable that names a file with the value, for a secret: `S3__SECRET_KEY_FILE`."""
        return self.name + _FILE if self.secret else None

    @property
    def names(self) -> tuple[str, ...]:
        """Every environment variable that sets it."""
        return (self.name,) if self.file is None else (self.name, self.file)


@cache
def variables(settings: type[BaseSettings]) -> tuple[Variable, ...]:
    """Return every setting of a service, in the order of the classes."""
    return tuple(
        _variable(group_key, group, key, field)
        for group_key, group in _groups(settings)
        for key, field in type(group).model_fields.items()
    )


def names(*settings: type[BaseSettings]) -> frozenset[str]:
    """Return every environment variable that these services read: settings, their `_FILE`s, and the general ones."""
    return GENERAL.union(*(variable.names for kind in settings for variable in variables(kind)))


def _groups(settings: type[BaseSettings]) -> Iterator[tuple[str, BaseModel]]:
    for name, field in settings.model_fields.items():
        yield field.alias or name, field.get_default(call_default_factory=True)


def _variable(group_key: str, group: BaseModel, key: str, field: FieldInfo) -> Variable:
    optional, annotation, metadata = _unwrap(field.annotation)
    metadata += field.metadata
    kind, allowed = _describe(annotation, metadata)
    return Variable(
        name=f"{group_key}__{key}".upper(),
        path=(group_key, key),
        kind=kind,
        allowed=", ".join(part for part in (allowed, *_limits(metadata)) if part),
        default=_text(getattr(group, key)),
        secret=annotation is SecretStr,
        optional=optional,
        group=type(group),
    )


def _unwrap(annotation: Any) -> tuple[bool, Any, list[Any]]:
    """Take `| None` and `Annotated` off a type; return whether the former was there, the type, and the annotations."""
    optional = get_origin(annotation) in {Union, UnionType}
    if optional:
        (annotation,) = (kind for kind in get_args(annotation) if kind is not NoneType)
    if get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
        return optional, annotation, metadata
    return optional, annotation, []


def _describe(annotation: Any, metadata: list[Any]) -> tuple[str, str]:
    if NoDecode in metadata:
        return "list", "separated by commas, or a list in YAML"
    if annotation is SecretStr:
        return "secret", ""
    if get_origin(annotation) is Literal:
        return "choice", _choice(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "choice", _choice([member.value for member in annotation])
    return _TYPES[get_origin(annotation) or annotation]


def _choice(values: Any) -> str:
    *most, last = (f"`{value}`" for value in values)
    return f"{', '.join(most)} or {last}" if most else last


def _limits(metadata: list[Any]) -> Iterator[str]:
    for limit in metadata:
        if type(limit) in _BOUNDS:
            words, name = _BOUNDS[type(limit)]
            yield f"{words} {_text(getattr(limit, name))}"
        elif pattern := getattr(limit, "pattern", None):
            yield f"matching `{pattern}`"


def _text(value: Any) -> str | None:
    if value is None or value in ("", ()):
        return None
    if isinstance(value, SecretStr):  # of a default, which everybody may read in the source
        return value.get_secret_value() or None
    if isinstance(value, float):
        return f"{value:.12g}"
    if value == timedelta(0):
        return "0"
    plain = to_jsonable_python(value)
    return plain if isinstance(plain, str) else to_json(plain).decode()


@cache
def _docstrings(group: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstring of each setting that has one, on one line."""
    found: dict[str, str] = {}
    for kind in reversed(group.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            found.update(_docstrings_in(inspect.getsource(kind)))
    return found


def _docstrings_in(source: str) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(dedent(source)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - it is a class's
    for setting, below in pairwise(definition.body):
        match setting, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())
