"""Stages from elsewhere: found by entry point, put where they ask to be, refused where they can't be."""

import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from common.errors import ConfigurationError
from common.settings import ServiceSettings
from worker import extensions
from worker.extensions import GROUP, Extension, StageContext, arrange, extension_settings, load_extensions
from worker.work import Stage, Work

CONTEXT = cast(StageContext, SimpleNamespace())


class NamedStage:
    def __init__(self, name: str) -> None:
        self.name = name

    async def run(self, work: Work) -> None:
        """Do nothing."""


def extension(name: str, *, after: str) -> Extension:
    def create(context: StageContext) -> Stage:
        assert context is CONTEXT
        return NamedStage(name)

    return Extension(after, create)


BUILT_IN = [NamedStage(name) for name in ("fetch", "decode", "index")]
# What the entry points of the tests name.
colours = extension("colours", after="decode")
faces = extension("faces", after="decode")
not_an_extension = "decode"


def install(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    found = EntryPoints(EntryPoint(name, f"{__name__}:{attribute}", GROUP) for name, attribute in points.items())
    monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[self.attr])
    monkeypatch.setattr(extensions, "entry_points", lambda group: found.select(group=group))


def names(given: list[Extension]) -> list[str]:
    return [stage.name for stage in arrange(BUILT_IN, given, CONTEXT)]


def test_without_extensions_the_order_is_the_built_in_one() -> None:
    assert names([]) == ["fetch", "decode", "index"]


def test_an_extension_comes_right_after_the_stage_it_names() -> None:
    assert names([extension("exif", after="fetch"), colours]) == ["fetch", "exif", "decode", "colours", "index"]


def test_several_after_the_same_keep_their_order() -> None:
    assert names([faces, colours]) == ["fetch", "decode", "faces", "colours", "index"]


@pytest.mark.parametrize("after", ["index", "colours", ""])
def test_nothing_follows_the_last_stage_or_one_that_is_not_there(after: str) -> None:
    with pytest.raises(ConfigurationError, match="it can follow fetch, decode"):
        names([extension("late", after=after)])


def test_installed_extensions_come_in_the_order_of_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, zebra="colours", apple="faces")
    assert load_extensions() == [faces, colours]


def test_what_installed_extensions_read_is_known_before_they_are_created(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings(ServiceSettings):
        """Of an extension."""

    monkeypatch.setitem(globals(), "own", Extension("decode", lambda _: None, Settings))
    install(monkeypatch, zebra="colours", apple="own")
    assert extension_settings() == [Settings]


def test_what_is_no_extension_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, fine="colours", strange="not_an_extension")
    with pytest.raises(ConfigurationError, match="'strange'"):
        load_extensions()


def test_an_extension_that_is_not_configured_adds_no_stage() -> None:
    assert names([Extension("fetch", lambda _: None), colours]) == ["fetch", "decode", "colours", "index"]


def test_likeness_own_extensions_are_registered_as_anybodys_would_be() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    points = project["entry-points"][GROUP]
    assert points.keys() == {"moderation", "tagging"}
    for name, value in points.items():
        extension = EntryPoint(name, value, GROUP).load()
        assert isinstance(extension, Extension)
        assert extension.after == "embed"
