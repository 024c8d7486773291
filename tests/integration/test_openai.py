"""The `openai` client against a running embedder."""

import base64
from collections.abc import AsyncIterator
from io import BytesIO
from random import Random

import numpy as np
import openai
import pytest

from embedder.demo.scenes import Scene, draw_scene

SCENES = [Scene("red", "circle", 1, "blue"), Scene("green", "star", 3, "white"), Scene("blue", "heart", 4, "grey")]


@pytest.fixture
async def client(embedder_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[openai.AsyncOpenAI]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with openai.AsyncOpenAI(base_url=f"{embedder_url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def draw(scene: Scene, seed: int) -> str:
    file = BytesIO()
    draw_scene(scene, Random(seed)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


async def test_texts_find_their_pictures(client: openai.AsyncOpenAI) -> None:
    default, other = [model.id async for model in client.models.list()]
    assert (await client.models.retrieve(other)).id == other
    captions, pictures = [scene.caption for scene in SCENES], [draw(scene, 3) for scene in SCENES]

    answer = await client.embeddings.create(model=default, input=captions + pictures)  # in base64: the client's default
    floats = await client.embeddings.create(model=default, input=captions[0], encoding_format="float")
    others = await client.embeddings.create(model=other, input=captions[0])

    vectors = np.array([each.embedding for each in answer.data])
    assert np.argmax(vectors[:3] @ vectors[3:].T, axis=1).tolist() == [0, 1, 2]
    assert (answer.model, floats.model, others.model) == (default, default, other)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 3 * 4
    assert vectors[0] @ np.array(floats.data[0].embedding) == pytest.approx(1, abs=1e-4)
    assert vectors[0] @ np.array(others.data[0].embedding) < 0.9


async def test_refusals_are_the_clients_own_exceptions(client: openai.AsyncOpenAI) -> None:
    model = (await client.models.list()).data[0].id
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.embeddings.create(model="text-embedding-3-small", input="a")
    with pytest.raises(openai.BadRequestError) as tokens:
        await client.embeddings.create(model=model, input=[1, 2, 3])

    assert (unknown.value.code, tokens.value.code) == ("model_not_found", "tokens_not_supported")
    assert "every model has its own" in tokens.value.message
