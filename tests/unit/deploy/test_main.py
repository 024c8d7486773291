import pytest

from deploy.local.__main__ import main


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "8000 ", "٨٠٠٠"])
def test_a_port_that_is_none_is_refused(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", port)

    assert main() == 1
    assert f"PORT={port} is no port" in capsys.readouterr().out
