"""Who asks what a command is has it told, and nothing is started."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = {
    "api.main": ("api/main.py", "The api service"),
    "worker.main": ("worker/main.py", "The worker service"),
    "embedder": ("embedder/__main__.py", "Runs the embedder"),
    "deploy.local": ("deploy/local/__main__.py", "`make run`"),
    "deploy.local.app": ("deploy/local/app.py", "api and worker in one process"),
    "deploy.local.demo": ("deploy/local/demo/__main__.py", "`make demo`"),
    "deploy.cluster": ("deploy/cluster/__main__.py", "`make cluster`"),
    "deploy.cluster.vectors": ("deploy/cluster/vectors.py", "The process that owns the embedded index"),
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
    file, what = MODULES[module]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, argument])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / file), run_name="__main__")
    assert ended.value.code == status
    told = capsys.readouterr()
    assert f"usage: python -m {module}" in (told.err if status else told.out)
    assert (what in told.out) == (status == 0)
    assert list(tmp_path.iterdir()) == []
