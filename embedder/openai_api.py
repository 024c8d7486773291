"""Embeddings as OpenAI's API has them (`POST /v1/embeddings`, `GET /v1/models`), so that its clients work here.

Beyond it: an input may be an image, as a data URL, and each embedding says whether its text was truncated. Other than
there, tokens are not taken, as every model has its own, and vectors have the model's dimensions only.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from common.embedding import MAX_IMAGES, MAX_TEXT_CHARS, MAX_TEXTS, VECTOR_DTYPE
from common.errors import ImageRejected, InvalidInput
from common.prompts import check_texts
from common.settings import ImagePolicy
from embedder.caller import Caller
from embedder.decoder import ImageDecoder
from embedder.dependencies import CallerDep, DecoderDep, ServiceDep
from embedder.engine import Engine
from embedder.errors import OPENAI_PREFIX
from embedder.model import Pixels, Vector
from embedder.prompts import EncodedText

MAX_INPUTS: Final = 2048
"""Most inputs of one request, as there; at most `MAX_IMAGES` of them images."""

router = APIRouter(prefix=OPENAI_PREFIX)

_IMAGE: Final = "data:image/"
_DATA_URL: Final = re.compile(r"data:image/[\w.+-]+;base64,", re.ASCII)
_BYTES_PER_CHAR: Final = 6  # \u1234 in JSON

_Embedded = dict[int, tuple[Vector, int]]
"""By the number of the input: its vector and how many tokens it has."""


class EmbeddingsRequest(BaseModel):
    """Body of `POST /v1/embeddings`; what else a client sends is ignored."""

    model: str
    """The model's label."""
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


class Embedding(BaseModel):
    """The vector of one input."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    """Numbers, or base64 of little-endian float32."""
    truncated: bool


class Usage(BaseModel):
    """How many tokens the model has read; an image has none."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """Answer of `POST /v1/embeddings`, in the order of the inputs."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class Model(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "likeness"


class ModelList(BaseModel):
    """Answer of `GET /v1/models`, the default model first."""

    object: Literal["list"] = "list"
    data: list[Model]


def longest_body(policy: ImagePolicy) -> int:
    """Return how many bytes a request may have: as many texts as are taken, and one image of the largest size."""
    return MAX_INPUTS * MAX_TEXT_CHARS * _BYTES_PER_CHAR + policy.max_file_bytes * 4 // 3


@router.get("/models")
async def list_models(service: ServiceDep) -> ModelList:
    """List the models that are served."""
    return ModelList(data=[Model(id=info.label) for info in service.list_models().models])


@router.get("/models/{label:path}")
async def get_model(service: ServiceDep, label: str) -> Model:
    """Tell whether a model is served."""
    return Model(id=service.engine(label).info.label)


@router.post("/embeddings")
async def create_embeddings(
    body: EmbeddingsRequest, service: ServiceDep, decoder: DecoderDep, caller: CallerDep
) -> Embeddings:
    """Embed texts, and images as data URLs."""
    engine = service.engine(body.model)
    inputs = _read_inputs(body, engine.info.dim)
    images = {index: each for index, each in enumerate(inputs) if each.startswith(_IMAGE)}
    texts = {index: each for index, each in enumerate(inputs) if index not in images}
    _check(list(texts.values()), images=len(images))
    embedded = await _embed_images(engine, decoder, caller, images) | await _embed_texts(engine, caller, texts)
    context = engine.info.context_length
    read = sum(min(tokens, context) for _, tokens in embedded.values())
    return Embeddings(
        data=[
            Embedding(index=index, embedding=_pack(vector, body.encoding_format), truncated=tokens > context)
            for index, (vector, tokens) in sorted(embedded.items())
        ],
        model=engine.info.label,
        usage=Usage(prompt_tokens=read, total_tokens=read),
    )


def _read_inputs(body: EmbeddingsRequest, dim: int) -> list[str]:
    if body.dimensions not in (None, dim):
        raise InvalidInput(f"the model's vectors have {dim} dimensions and no other", code="unsupported_dimensions")
    inputs = [body.input] if isinstance(body.input, str) else body.input
    texts = [each for each in inputs if isinstance(each, str)]
    if len(texts) < len(inputs):
        raise InvalidInput("send text: tokens are not taken, every model has its own", code="tokens_not_supported")
    return texts


def _check(texts: Sequence[str], *, images: int) -> None:
    if len(texts) + images == 0 or not all(texts):
        raise InvalidInput("there is nothing to embed in an empty input", code="empty_input")
    if len(texts) + images > MAX_INPUTS or images > MAX_IMAGES:
        raise InvalidInput(
            f"a request may have {MAX_INPUTS} inputs, {MAX_IMAGES} of them images", code="too_many_inputs"
        )
    check_texts(texts)


async def _embed_texts(engine: Engine, caller: Caller, texts: dict[int, str]) -> _Embedded:
    """Embed texts by their numbers; no more of them wait at a time than of any other request."""
    rows: list[EncodedText] = []
    waiting = list(texts.values())
    for start in range(0, len(waiting), MAX_TEXTS):
        rows += await engine.texts.encode(waiting[start : start + MAX_TEXTS], caller)
    return dict(zip(texts, rows, strict=True))


async def _embed_images(engine: Engine, decoder: ImageDecoder, caller: Caller, images: dict[int, str]) -> _Embedded:
    pixels: list[Pixels] = []
    for index, url in images.items():
        try:
            pixels.append(await decoder.decode(_read_data_url(url), engine.info.preprocess))
        except (ImageRejected, InvalidInput) as error:
            raise type(error)(f"input {index}: {error}", code=error.code) from error
    vectors = await engine.images.encode(pixels, caller) if pixels else []
    return {index: (vector, 0) for index, vector in zip(images, vectors, strict=True)}


def _read_data_url(url: str) -> bytes:
    prefix = _DATA_URL.match(url)
    try:
        if prefix is not None:
            return base64.b64decode(url[prefix.end() :], validate=True)
    except binascii.Error:
        pass
    raise InvalidInput("an image is sent as data:image/…;base64,…", code="invalid_data_url")


def _pack(vector: Vector, encoding: Literal["float", "base64"]) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype(VECTOR_DTYPE).tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers
