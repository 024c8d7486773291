"""The package that docs/extending.md walks through, installed and run."""

import re
import sys
import tomllib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from worker.extensions import Extension, StageContext, load_extensions

TEXT = (Path(__file__).parents[3] / "docs" / "extending.md").read_text()
CONTEXT = cast(StageContext, SimpleNamespace(labels=None))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Extension]:
    """The extension, from a folder that looks as if `pip install` had made it."""
    (project,), (module, _) = blocks("toml"), blocks("python")
    described = tomllib.loads(project)["project"]
    (group, points), *_ = described["entry-points"].items()
    info = tmp_path / f"{described['name'].replace('-', '_')}-{described['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {described['name']}\nVersion: {described['version']}\n")
    lines = [f"{name} = {value}\n" for name, value in points.items()]
    (info / "entry_points.txt").write_text(f"[{group}]\n{''.join(lines)}")
    (tmp_path / "likeness_blocklist.py").write_text(module)
    before = load_extensions()
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = [extension for extension in load_extensions() if extension not in before]
    yield found
    del sys.modules["likeness_blocklist"]


def test_the_worker_finds_it_and_it_is_off_until_it_is_configured(
    installed: Extension, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installed.after == "fetch"
    assert installed.create(CONTEXT) is None
    hashes = tmp_path / "hashes"
    hashes.write_text("ab\ncd\n")
    monkeypatch.setenv("BLOCKLIST__PATH", str(hashes))
    stage = installed.create(CONTEXT)
    assert stage is not None
    assert stage.name == "blocklist"


async def test_its_test_passes(installed: Extension) -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[1], names)  # noqa: S102 - our own documentation
    tests = [cast(Callable[[], Coroutine[Any, Any, None]], names[name]) for name in names if name.startswith("test_")]
    assert len(tests) == 1
    await tests[0]()
