"""A client of two embedders over real connections, while they come, go, and answer nonsense."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import numpy as np
import pytest

from common.breakers import EMBEDDER, Breakers
from common.embedder_client import EmbedderClient
from common.errors import EmbedderUnavailable, Overloaded
from common.serving import serving
from common.settings import BreakerSettings, EmbedderClientSettings
from common.tls import verify
from deploy.local.ports import LOOPBACK, choose_ports
from tests.fakes.embedder_server import MODEL, SIZE, EmbedderServer, embed

IMAGES = np.random.default_rng(5).integers(0, 255, (3, SIZE, SIZE, 3), dtype=np.uint8)
CALLS = 12


class Two:
    """Two embedders, and a client of both."""

    def __init__(self) -> None:
        self.ports = choose_ports(2)
        self._servers = [AsyncExitStack(), AsyncExitStack()]
        self.breakers = Breakers("test", BreakerSettings(failures=2, pause_s=0.05))
        self.client = EmbedderClient(
            EmbedderClientSettings(url=",".join(map(self.url, (0, 1)))),
            breaker=self.breakers.create(EMBEDDER, EmbedderUnavailable),
        )

    def url(self, number: int) -> str:
        return f"http://{LOOPBACK}:{self.ports[number]}"

    async def start(self, number: int) -> None:
        await self._servers[number].enter_async_context(serving(EmbedderServer().app(), LOOPBACK, self.ports[number]))

    async def stop(self, number: int) -> None:
        await self._servers[number].aclose()

    async def script(self, number: int, answer: str) -> None:
        url = self.url(number)
        async with httpx.AsyncClient(trust_env=False, verify=verify(url)) as client:
            (await client.put(f"{url}/script", json={"answer": answer})).raise_for_status()

    async def embed(self) -> None:
        """Have pictures embedded, again and again; every time it must be right."""
        for _ in range(CALLS):
            vectors = await self.client.serving(MODEL.label).encode_pixels(list(IMAGES))
            assert np.allclose(np.stack(vectors), embed(IMAGES))


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    made = Two()
    async with made.client:
        yield made
        await made.breakers.close()
    for number in (0, 1):
        await made.stop(number)


async def test_they_are_replaced_one_after_the_other(two: Two) -> None:
    await two.start(0)
    await two.embed()
    await two.start(1)
    await two.embed()
    await two.stop(0)
    await two.embed()
    await two.start(0)
    await two.stop(1)
    await two.embed()
    assert (await two.client.ready()).ok


@pytest.mark.parametrize("answer", ["500", "429", "garbage", "wrong dim", "another model"])
async def test_one_answers_nonsense(two: Two, answer: str) -> None:
    await two.start(0)
    await two.start(1)
    await two.script(0, answer)
    await two.embed()


async def test_both_are_full(two: Two) -> None:
    await two.start(0)
    await two.start(1)
    for number in (0, 1):
        await two.script(number, "429")
    with pytest.raises(Overloaded):
        await two.embed()
