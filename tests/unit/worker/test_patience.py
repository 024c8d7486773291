import pytest

from common.errors import ConfigurationError, InfrastructureError, StorageUnavailable
from worker.bootstrap import patience
from worker.bootstrap.patience import until_available


class _Starting:
    """Answers after it has failed some times, alternately in two ways."""

    def __init__(self, failures: int) -> None:
        self.asked = 0
        self._failures = failures

    async def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self._failures:
            raise StorageUnavailable("starting" if self.asked < self._failures else "almost there")
        return "answer"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_PAUSE_S", 0)


async def test_what_is_starting_is_asked_again_and_each_reason_told_once() -> None:
    said: list[str] = []
    assert await until_available(_Starting(4), 600, said.append) == "answer"
    assert said == ["Waiting: starting", "Waiting: almost there"]


async def test_waiting_ends() -> None:
    step = _Starting(2)
    with pytest.raises(InfrastructureError, match="starting"):
        await until_available(step, 0, pytest.fail)
    assert step.asked == 1


async def test_what_waiting_does_not_mend_is_told_at_once() -> None:
    async def misconfigured() -> None:
        raise ConfigurationError("another model")

    with pytest.raises(ConfigurationError):
        await until_available(misconfigured, 600, pytest.fail)
