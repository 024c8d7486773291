"""What can be set is told from the classes."""

from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import NoDecode

from common.attributes import AttributeKind
from common.settings import RedisAddress, ServiceSettings
from common.settings_reference import GENERAL, Variable, names, variables


class Group(BaseModel):
    """A group."""

    count: int = Field(default=3, ge=1, le=9)
    """How many;
    in words."""
    share: float = Field(default=0.50, gt=0, lt=1)
    limit: int | None = Field(default=None, ge=2)
    on: bool = False
    kind: Literal["a", "b", "c"] = "a"
    attribute: AttributeKind = AttributeKind.KEYWORD
    password: SecretStr | None = None
    url: RedisAddress = SecretStr("redis://somewhere")
    text: str = ""
    path: Path = Path("/data")
    at: time = time(3)
    age: timedelta = Field(default=timedelta(days=30), gt=timedelta(0))
    words: Annotated[tuple[str, ...], NoDecode] = ()
    labels: dict[str, str] = Field(default_factory=dict, max_length=5)
    address: str = Field(default="http://a", pattern="^https?://", min_length=9)
    prompts: list[str] = Field(default_factory=lambda: ["a picture"])


class Settings(ServiceSettings):
    group: Group = Group(on=True)
    imports: Group = Field(default=Group(), alias="import")


FOUND = {variable.name: variable for variable in variables(Settings)}


def test_every_setting_of_every_group_is_told_in_order() -> None:
    assert [variable.path for variable in variables(Settings)] == [
        (group, key) for group in ("group", "import") for key in Group.model_fields
    ]


def test_all_there_is_to_say() -> None:
    assert FOUND["GROUP__COUNT"] == Variable(
        name="GROUP__COUNT",
        path=("group", "count"),
        kind="integer",
        allowed="at least 1, at most 9",
        default="3",
        secret=False,
        optional=False,
        group=Group,
    )
    assert FOUND["GROUP__COUNT"].description == "How many; in words."
    assert FOUND["GROUP__SHARE"].description == ""


def test_descriptions_are_inherited() -> None:
    class Heir(Group):
        """Another one."""

        more: int = 1
        """And more."""

    class HeirSettings(ServiceSettings):
        heir: Heir = Heir()

    found = {variable.name: variable.description for variable in variables(HeirSettings)}
    assert (found["HEIR__COUNT"], found["HEIR__MORE"]) == ("How many; in words.", "And more.")


@pytest.mark.parametrize(
    ("key", "kind", "allowed", "default"),
    [
        ("share", "number", "more than 0, less than 1", "0.5"),
        ("limit", "integer", "at least 2", None),
        ("on", "boolean", "`true` or `false`", "true"),
        ("kind", "choice", "`a`, `b` or `c`", "a"),
        ("attribute", "choice", "`keyword`, `integer`, `number`, `boolean` or `datetime`", "keyword"),
        ("password", "secret", "", None),
        ("url", "secret", "", "redis://somewhere"),
        ("text", "text", "", None),
        ("path", "path", "", "/data"),
        ("at", "time of day", "`HH:MM`, UTC", "03:00:00"),
        ("age", "duration", "ISO 8601, such as `P30D` or `PT12H`, more than 0", "P30D"),
        ("words", "list", "separated by commas, or a list in YAML", None),
        ("labels", "object", "a JSON object, a mapping in YAML, no longer than 5", "{}"),
        ("address", "text", "no shorter than 9, matching `^https?://`", "http://a"),
        ("prompts", "list", "a JSON array, a list in YAML", '["a picture"]'),
    ],
)
def test_types_and_ranges_are_told_in_words(key: str, kind: str, allowed: str, default: str | None) -> None:
    found = FOUND[f"GROUP__{key.upper()}"]
    assert (found.kind, found.allowed, found.default) == (kind, allowed, default)


def test_a_secret_may_be_named_by_its_file() -> None:
    assert FOUND["GROUP__PASSWORD"].names == ("GROUP__PASSWORD", "GROUP__PASSWORD_FILE")
    assert FOUND["GROUP__URL"].secret
    assert FOUND["GROUP__PASSWORD"].optional
    assert FOUND["GROUP__TEXT"].names == ("GROUP__TEXT",)


def test_names_are_all_that_is_read() -> None:
    found = names(Settings)
    assert found >= GENERAL | {"IMPORT__COUNT", "GROUP__URL", "GROUP__URL_FILE"}
    assert not found & {"IMPORTS__COUNT", "GROUP__COUNT_FILE", "GROUP"}
