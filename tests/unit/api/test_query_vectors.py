"""What a search needs of the embedder: nothing for what is known, one call for equal searches, never another model."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest

from api.query_vectors import QueryVectors
from api.settings import CacheSettings
from api.vector_cache import VectorCache
from common.db.models import EmbeddingModel
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo
from common.errors import ConfigurationError, EmbedderUnavailable, ImageUnreadable, UnknownModel
from common.settings import EmbedderClientSettings
from tests.fixtures.rows import model_info, unit_vector


class Embedder:
    """Answers with the vector of a text's length, when it may."""

    def __init__(self) -> None:
        self.served = model_info()
        self.asked: list[list[str]] = []
        self.then: ModelInfo | None = None
        """What it serves once it has said what it serves."""
        self.down = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def handle(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            return httpx.Response(503, json={"code": "embedder_unavailable", "detail": "scripted"})
        if request.url.params["model"] != self.served.label:
            return httpx.Response(404, json={"code": "unknown_model", "detail": "scripted"})
        if request.url.params["preprocess_version"] != str(self.served.preprocess_version):
            return httpx.Response(404, json={"code": "unknown_model", "detail": "another version"})
        if request.url.path == "/model":
            answer = httpx.Response(200, json=self.served.model_dump())
            self.served = self.then or self.served
            return answer
        inputs = json.loads(request.content)["texts"] if "text" in request.url.path else [request.content.decode()]
        self.asked.append(inputs)
        await self.may_answer.wait()
        if inputs == ["broken"]:
            return httpx.Response(422, json={"code": "image_corrupt", "detail": "scripted"})
        vectors = [unit_vector(len(each)).tolist() for each in inputs]
        named = {"model": self.served.label, "dim": self.served.dim}
        texts = {"embeddings": vectors, "truncated": [False] * len(vectors)}
        return httpx.Response(200, json={**texts, "embedding": vectors[0], **named})


@pytest.fixture
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
async def client(embedder: Embedder) -> AsyncIterator[EmbedderClient]:
    transport = httpx.MockTransport(embedder.handle)
    async with EmbedderClient(EmbedderClientSettings(url="http://embedder"), transport=transport) as opened:
        yield opened


@pytest.fixture
def model() -> EmbeddingModel:
    served = model_info()
    return EmbeddingModel(name=served.name, pretrained=served.pretrained, dim=served.dim, preprocess_version=1)


@pytest.fixture
def vectors(client: EmbedderClient) -> QueryVectors:
    return QueryVectors(client, VectorCache(CacheSettings(), None))


async def until_asked(embedder: Embedder, times: int = 1) -> None:
    async with asyncio.timeout(60):
        while len(embedder.asked) < times:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)


async def test_what_is_known_needs_no_embedder(
    vectors: QueryVectors, embedder: Embedder, model: EmbeddingModel
) -> None:
    first = await vectors.of_texts(model, ["a", "bb"])
    assert np.allclose(first["bb"], unit_vector(2))
    picture = await vectors.of_picture(model, b"ccc", "00" * 32)
    assert embedder.asked == [["a", "bb"], ["ccc"]]
    embedder.down = True
    again = await vectors.of_texts(model, ["bb", "a"])
    assert all(np.array_equal(again[text], first[text]) for text in first)
    assert np.array_equal(await vectors.of_picture(model, b"ccc", "00" * 32), picture)
    with pytest.raises(EmbedderUnavailable):
        await vectors.of_texts(model, ["a", "new"])
    embedder.down = False
    await vectors.of_texts(model, ["a", "new"])
    assert embedder.asked[2:] == [["new"]], "no more than what is missing"


async def test_equal_searches_at_the_same_time_are_one_call(
    vectors: QueryVectors, embedder: Embedder, model: EmbeddingModel
) -> None:
    embedder.may_answer.clear()
    searches = [asyncio.create_task(vectors.of_texts(model, ["a red circle"])) for _ in range(20)]
    await until_asked(embedder)
    searches[0].cancel()
    embedder.may_answer.set()
    found = await asyncio.gather(*searches, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError), "who asked first has left; the others have their answer"
    assert all(isinstance(each, dict) and np.allclose(each["a red circle"], unit_vector(12)) for each in found[1:])
    assert embedder.asked == [["a red circle"]]


async def test_nobody_waits_for_a_search_that_all_have_left(
    vectors: QueryVectors, embedder: Embedder, model: EmbeddingModel
) -> None:
    embedder.may_answer.clear()
    leaving = asyncio.create_task(vectors.of_texts(model, ["a"]))
    await until_asked(embedder)
    leaving.cancel()
    await asyncio.wait([leaving])
    embedder.may_answer.set()
    assert "a" in await vectors.of_texts(model, ["a"])
    assert embedder.asked == [["a"], ["a"]]


async def test_what_can_not_be_embedded_is_not_kept(
    vectors: QueryVectors, embedder: Embedder, model: EmbeddingModel
) -> None:
    for _ in range(2):
        with pytest.raises(ImageUnreadable):
            await vectors.of_picture(model, b"broken", "11" * 32)
    assert len(embedder.asked) == 2


async def test_another_models_vector_never_comes_under_this_ones_name(
    vectors: QueryVectors, embedder: Embedder, model: EmbeddingModel
) -> None:
    known = await vectors.of_texts(model, ["a"])
    for other, error in (
        (model_info(pretrained="others"), UnknownModel),
        (model_info(preprocess_version=2), UnknownModel),
        (model_info(dim=8), ConfigurationError),
    ):
        embedder.served = other
        with pytest.raises(error):
            await vectors.of_texts(model, ["new"])
    assert np.array_equal((await vectors.of_texts(model, ["a"]))["a"], known["a"])
    embedder.served = model_info()
    await vectors.of_texts(model, ["new"])
    assert embedder.asked == [["a"], ["new"]]


async def test_no_vector_of_an_embedder_that_has_just_been_replaced_is_kept(
    vectors: QueryVectors, embedder: Embedder, model: EmbeddingModel
) -> None:
    embedder.then = model_info(preprocess_version=2)
    with pytest.raises(UnknownModel, match="another version"):
        await vectors.of_texts(model, ["a"])
    embedder.served, embedder.then = model_info(), None
    await vectors.of_texts(model, ["a"])
    assert embedder.asked == [["a"]], "the first time, nothing was embedded"
