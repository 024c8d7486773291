"""What can be set is written down as it is."""

from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from common.known_settings import KNOWN
from common.settings import ServiceSettings
from deploy.configuration import SERVICES, list_settings, main, render_known, render_page


class Store(BaseModel):
    """Where things | are
    kept.
    """

    bucket: str = "likeness"
    """Its | name."""


class Wider(Store):
    """More of it."""

    size: int = Field(default=3, ge=1)
    """How much."""


class Narrow(ServiceSettings):
    store: Store = Store()


class Wide(ServiceSettings):
    other: Store = Store(bucket="elsewhere")
    store: Wider = Wider()


class Different(ServiceSettings):
    store: Store = Store(bucket="another")


HEAD = "| Setting | Kind | Allowed | Default | Read by | Meaning |\n| --- | --- | --- | --- | --- | --- |\n"


def test_what_is_written_down_is_what_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_every_setting_says_what_it_is_for() -> None:
    settings = [setting.variable for setting in list_settings(SERVICES)]
    assert [setting.name for setting in settings if not setting.description] == []
    assert {name for setting in settings for name in setting.names} == KNOWN


def test_a_setting_is_listed_once_with_all_who_read_it() -> None:
    page = render_page(list_settings({"one": [Narrow], "two": [Wide]}))
    assert page.endswith(
        f"\n## STORE\n\nWhere things | are kept.\nMore of it.\n\n{HEAD}"
        "| `STORE__BUCKET` | text |  | `likeness` | one, two | Its \\| name. |\n"
        "| `STORE__SIZE` | integer | at least 1 | `3` | two | How much. |\n"
        f"\n## OTHER\n\nWhere things | are kept.\n\n{HEAD}"
        "| `OTHER__BUCKET` | text |  | `elsewhere` | two | Its \\| name. |\n"
    )
    known = render_known(list_settings({"one": [Narrow], "two": [Wide]}))
    assert '        "OTHER__BUCKET",\n        "STORE__BUCKET",\n        "STORE__SIZE",\n' in known


def test_a_setting_means_the_same_to_all() -> None:
    with pytest.raises(ValueError, match="STORE__BUCKET is not the same for one and for two"):
        list_settings({"one": [Narrow], "two": [Different]})


def test_what_is_out_of_date_is_told_and_can_be_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "common").mkdir()
    (tmp_path / "docs/configuration.md").write_text("an older one\n")
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err.splitlines() == [
        "docs/configuration.md is out of date: run `make configuration`",
        "common/known_settings.py is out of date: run `make configuration`",
    ]
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
