"""What the api says when it can't start."""

from typing import Any

import pytest
from starlette.types import Message
from structlog.testing import capture_logs

from api.main import create_app
from api.settings import ApiSettings
from common.errors import ConfigurationError


async def start() -> list[Message]:
    """Start the app, and return what it answers; its error comes after that, as servers expect it."""
    answers: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        answers.append(message)

    with pytest.raises((ConfigurationError, RuntimeError)):
        await create_app(ApiSettings())({"type": "lifespan", "state": {}}, receive, send)
    return answers


async def test_what_is_known_to_be_wrong_is_one_line() -> None:
    with capture_logs() as lines:
        assert await start() == [{"type": "lifespan.startup.failed", "message": ""}]
    [line] = lines
    assert (line["event"], line["code"]) == ("cannot_start", "configuration_error")
    assert "QDRANT__URL" in line["error"]


async def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("api.main.open_state", broken)
    [answer] = await start()
    assert answer["type"] == "lifespan.startup.failed"
    assert answer["message"].startswith("Traceback")
