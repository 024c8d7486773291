from pathlib import Path
from typing import Any

import pytest

from deploy.local.services import _reason, create_app, create_embedder

STORES = {"DATABASE__URL": "postgresql+asyncpg://ours"}


def test_settings_of_the_stack_stand_above_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("database__url", "postgresql+asyncpg://theirs")  # settings are read in any case
    monkeypatch.setenv("DATABASE__URL_FILE", "/run/theirs")
    monkeypatch.setenv("QDRANT__URL", "http://theirs")
    monkeypatch.setenv("UPLOAD__MAX_FILES", "7")
    embedder = create_embedder(20_001, {})

    environment = create_app(20_002, STORES, embedder, Path("/data/qdrant")).environment()

    assert environment["DATABASE__URL"] == "postgresql+asyncpg://ours"
    assert environment["EMBEDDER__URL"] == "http://127.0.0.1:20001"
    assert environment["QDRANT__PATH"] == "/data/qdrant"
    assert environment["UPLOAD__MAX_FILES"] == "7"
    assert environment["QDRANT__URL"] == "", "and so has no other place name one"
    assert not {"database__url", "DATABASE__URL_FILE"} & environment.keys()


def test_the_model_stands_above_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDER__MODEL", "theirs")

    assert create_embedder(20_001, {"EMBEDDER__MODEL": "indexed"}).environment()["EMBEDDER__MODEL"] == "indexed"
    assert create_embedder(20_001, {}).environment()["EMBEDDER__MODEL"] == "theirs"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, ""),
        ({"status": "loading", "detail": "42 % of the weights"}, "42 % of the weights"),
        (
            {
                "dependencies": [
                    {"name": "a", "ok": True, "detail": ""},
                    {"name": "b", "ok": False, "detail": "refused"},
                ]
            },
            "b: refused",
        ),
    ],
)
def test_what_a_service_waits_for_is_told(answer: dict[str, Any], reason: str) -> None:
    assert _reason(answer) == reason
