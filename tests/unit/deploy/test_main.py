from pathlib import Path

import pytest

from deploy.local.__main__ import main
from deploy.local.ports import choose_ports


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "8000 ", "٨٠٠٠"])
def test_a_port_that_is_none_is_refused(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", port)

    assert main() == 1
    assert f"PORT={port} is no port" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("assembly", "wrong"),
    [
        ("deploy.local.assembly", {"WORKER__EMBED_BATCH": "0", "HTTP__PROT": "80", "EMBEDDER__THREADS": "-1"}),
        ("deploy.cluster.assembly", {"CLUSTER__APIS": "0", "VECTORS__PORT": "x", "QDRANT__URL": "qdrant:6333"}),
    ],
    ids=["run", "cluster"],
)
def test_wrong_settings_are_told_before_anything_starts(
    assembly: str,
    wrong: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {"PORT": str(choose_ports(1)[0]), "LIKENESS_HOME": str(tmp_path), **wrong}.items():
        monkeypatch.setenv(name, value)

    assert main(assembly) == 1

    told = capsys.readouterr().out
    assert "Wrong settings:" in told
    assert [name for name in wrong if name not in told] == []
    assert list((tmp_path / "logs").iterdir()) == [], "no store has run"
