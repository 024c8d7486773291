"""Who asks what a command is has it told, and nothing is started."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = {
    "deploy.local": "deploy/local/__main__.py",
    "deploy.local.demo": "deploy/local/demo/__main__.py",
    "deploy.cluster": "deploy/cluster/__main__.py",
}


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--port=80", 2)])
def test_help_is_told_and_nothing_else_is_taken(
    module: str,
    argument: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, argument])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / MODULES[module]), run_name="__main__")
    assert ended.value.code == status
    told = capsys.readouterr()
    assert f"usage: python -m {module}" in (told.err if status else told.out)
    assert ("make " in told.out) == (status == 0), "what it is for"
    assert list(tmp_path.iterdir()) == []
