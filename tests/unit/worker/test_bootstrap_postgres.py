"""What `likeness bootstrap` makes of a PostgreSQL that does not get done, or does not let it."""

import asyncpg
import pytest
from pydantic import SecretStr

from common.errors import ConfigurationError, DatabaseUnavailable, LikenessError
from common.settings import DatabaseSettings
from worker.bootstrap import postgres

SERVICES, ADMIN = "postgresql+asyncpg://likeness:new@host/likeness", "postgresql+asyncpg://postgres:secret@host/x"


class Connection:
    """An administrator's, whose every command fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def execute(self, *_: object) -> None:
        raise self._error

    async def close(self, timeout: float) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "told", "words"),
    [
        (TimeoutError(), DatabaseUnavailable, "TimeoutError"),  # of a slow disk, or of another one that is at it
        (asyncpg.AdminShutdownError("it stops"), DatabaseUnavailable, "it stops"),
        (asyncpg.InsufficientPrivilegeError("no right"), ConfigurationError, "does not let postgres do this: no right"),
    ],
    ids=["timeout", "shutdown", "no right"],
)
async def test_it_is_told_in_words(
    error: Exception, told: type[LikenessError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(**given: object) -> Connection:
        if given["user"] == "likeness":
            raise asyncpg.InvalidPasswordError("wrong")
        return Connection(error)

    monkeypatch.setattr(asyncpg, "connect", connect)
    with pytest.raises(told, match=words):
        await postgres.ensure_database(DatabaseSettings(url=SecretStr(SERVICES)), SecretStr(ADMIN))
