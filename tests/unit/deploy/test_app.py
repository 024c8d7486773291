"""The worker as a neighbour of the api in `/ready`: it says why it does not work, and is not needed to serve."""

from contextlib import suppress
from types import SimpleNamespace
from typing import cast

from common.breakers import STORAGE, Breakers
from common.errors import StorageUnavailable
from common.settings import BreakerSettings
from deploy.local.app import _Neighbour
from worker.context import WorkerContext


async def test_the_worker_says_how_it_is() -> None:
    neighbour = _Neighbour()

    async def shown() -> tuple[bool, str]:
        dependency = await neighbour.probe()
        assert (dependency.name, dependency.needed) == ("worker", False)
        return dependency.ok, dependency.detail

    assert await shown() == (False, "it is starting")
    neighbour.waits_for = "the model is loading"
    assert await shown() == (False, "the model is loading")
    breakers = Breakers("tests", BreakerSettings(failures=1, pause_s=3600))
    breakers.create(STORAGE, StorageUnavailable)
    with neighbour.running(cast(WorkerContext, SimpleNamespace(breakers=breakers))):
        assert await shown() == (True, "")
        with suppress(StorageUnavailable), breakers[STORAGE].guard():
            raise StorageUnavailable("refused")
        assert await shown() == (False, "it waits for storage")
    assert await shown() == (False, "it has stopped")
    await breakers.close()
