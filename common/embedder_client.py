"""Client of the embedder. Whatever it returns has been checked: count, length, finite, normalised, the right model."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from common.breakers import Breaker
from common.embedder_link import EmbedderLink
from common.embedding import (
    COUNT_HEADER,
    DIM_HEADER,
    MAX_IMAGES,
    MAX_TEXTS,
    MODEL_HEADER,
    MODEL_PARAMETER,
    PIXELS_MEDIA_TYPE,
    PRIORITY_HEADER,
    SIZE_HEADER,
    VECTOR_DTYPE,
    Encoded,
    ModelInfo,
    Models,
    Priority,
    Readiness,
    TextsEncoded,
    TextsRequest,
)
from common.errors import EmbedderUnavailable, EmbeddingInvalid
from common.prompts import check_templates, check_texts
from common.settings import EmbedderClientSettings

Vector = NDArray[np.float32]
Answer = TypeVar("Answer", bound=BaseModel)

_NORM_TOLERANCE = 1e-3


class EmbeddedText(NamedTuple):
    """A text's vector, and whether the text was too long to be read to its end."""

    vector: Vector
    truncated: bool


class ModelClient:
    """One model of an embedder: the default one, or the one with a label.

    `model()` asks which model answers, and pins it: vectors of any other model are refused until `model()` is
    called again. The other calls pin it on first use.

    Raises, from every call:
        EmbedderUnavailable: no answer in time, not ready, or an answer that can't be right.
        EmbeddingInvalid: the same, where one of several inputs may be the cause.
        UnknownModel: the embedder does not serve the model of this label.
        Overloaded: its queue is full.
    """

    def __init__(self, link: EmbedderLink, label: str | None = None) -> None:
        self._link = link
        self._query = {} if label is None else {MODEL_PARAMETER: label}
        self._model: ModelInfo | None = None

    async def model(self) -> ModelInfo:
        """Ask which model answers, and pin it."""
        self._model = _parse(ModelInfo, await self._link.request("GET", "/model", params=self._query))
        return self._model

    async def encode_pixels(
        self, images: Sequence[NDArray[np.uint8]], *, priority: Priority = Priority.BULK
    ) -> list[Vector]:
        """Embed preprocessed images.

        Args:
            images: each (S, S, 3), from `common.imaging.model_pixels` with the model's preprocessing.
            priority: whether somebody waits for them.

        Returns:
            One vector (D,) per image, in order.
        """
        model = await self._pinned()
        shape = (model.image_size, model.image_size, 3)
        if any(image.shape != shape or image.dtype != np.uint8 for image in images):
            raise ValueError(f"{model.label} takes uint8 images of shape {shape}")
        vectors: list[Vector] = []
        for start in range(0, len(images), MAX_IMAGES):
            vectors += await self._encode_pixels(model, images[start : start + MAX_IMAGES], priority)
        return vectors

    async def encode_image(self, data: bytes, *, priority: Priority = Priority.INTERACTIVE) -> Vector:
        """Embed an encoded image (JPEG, PNG, …); the embedder decodes it.

        Raises:
            ImageRejected: the image itself is at fault; `.code` says how.
        """
        model = await self._pinned()
        headers = {"Content-Type": "image/*", PRIORITY_HEADER: priority}
        response = await self._link.request(
            "POST", "/encode", params=self._query, content=data, headers=headers, rejects_images=True
        )
        answer = _parse(Encoded, response)
        return _vectors([answer.embedding], model, 1, answer.model)[0]

    async def encode_texts(self, texts: Sequence[str], *, priority: Priority = Priority.INTERACTIVE) -> list[Vector]:
        """Embed texts; one vector (D,) per text, in order.

        Raises:
            InvalidInput: a text is longer than `MAX_TEXT_CHARS`.
        """
        return [text.vector for text in await self.embed_texts(texts, priority=priority)]

    async def embed_texts(
        self,
        texts: Sequence[str],
        *,
        templates: Sequence[str] = (),
        priority: Priority = Priority.INTERACTIVE,
    ) -> list[EmbeddedText]:
        """Embed texts, in order, and tell which were too long for the model.

        Args:
            texts: any number.
            templates: at most `MAX_TEXTS`; each text is put into each, and gets the mean of their vectors.
            priority: whether somebody waits for them.

        Raises:
            InvalidInput: a text or a template can't be taken.
        """
        check_texts(texts)
        check_templates(templates)
        model = await self._pinned()
        step = MAX_TEXTS // (len(templates) or 1)
        embedded: list[EmbeddedText] = []
        for start in range(0, len(texts), step):
            body = TextsRequest(texts=list(texts[start : start + step]), templates=list(templates))
            embedded += await self._embed_texts(model, body, priority)
        return embedded

    def pin(self, model: ModelInfo) -> None:
        """Take it from somebody who has asked that this is the model."""
        self._model = model

    async def _pinned(self) -> ModelInfo:
        return self._model or await self.model()

    async def _embed_texts(self, model: ModelInfo, body: TextsRequest, priority: Priority) -> list[EmbeddedText]:
        headers = {PRIORITY_HEADER: priority}
        response = await self._link.request(
            "POST", "/encode/text", params=self._query, json=body.model_dump(), headers=headers
        )
        answer = _parse(TextsEncoded, response)
        vectors = _vectors(answer.embeddings, model, len(body.texts), answer.model)
        if len(answer.truncated) != len(vectors):
            raise EmbedderUnavailable("the embedder did not say of each text whether it was cut")
        return list(map(EmbeddedText, vectors, answer.truncated))

    async def _encode_pixels(
        self, model: ModelInfo, images: Sequence[NDArray[np.uint8]], priority: Priority
    ) -> list[Vector]:
        headers = {
            "Content-Type": PIXELS_MEDIA_TYPE,
            COUNT_HEADER: str(len(images)),
            SIZE_HEADER: str(model.image_size),
            PRIORITY_HEADER: priority,
        }
        body = b"".join(image.tobytes() for image in images)
        response = await self._link.request("POST", "/encode/pixels", params=self._query, content=body, headers=headers)
        if response.headers.get(DIM_HEADER) != str(model.dim):
            raise EmbedderUnavailable(f"the embedder answered other vectors than of {model.dim} numbers")
        if (
            response.headers.get(COUNT_HEADER) != str(len(images))
            or len(response.content) != len(images) * model.dim * 4
        ):
            raise EmbeddingInvalid(f"the embedder answered another number of vectors than {len(images)}")
        values = np.frombuffer(response.content, dtype=VECTOR_DTYPE).reshape(len(images), model.dim)
        return _vectors(values, model, len(images), response.headers.get(MODEL_HEADER, ""))


class EmbedderClient(ModelClient):
    """Talks to one embedder service (or the load balancer before several with the same models).

    By itself it is a client of the service's default model; `serving` gives those of the others.
    """

    def __init__(
        self,
        settings: EmbedderClientSettings,
        *,
        breaker: Breaker | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Create a client.

        Args:
            settings: where the embedder is, and how long a call may take.
            breaker: opens when there is no answer, or a 5xx. An answer that can't be right may be one image's doing.
            transport: replaces the network in tests.
        """
        super().__init__(EmbedderLink(settings, breaker, transport))
        self._serving: dict[str, ModelClient] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, those of `serving`'s clients too."""
        await self._link.close()

    async def ready(self) -> Readiness:
        """Ask whether the embedder serves, with all its models, within a few seconds; never raises."""
        return await self._link.ready()

    async def models(self) -> list[ModelInfo]:
        """Ask which models are served, the default one first, and pin `serving`'s clients to what they are."""
        answer = _parse(Models, await self._link.request("GET", "/models"))
        for model in answer.models:
            self.serving(model.label).pin(model)
        return sorted(answer.models, key=lambda model: model.label != answer.default)

    def serving(self, label: str) -> ModelClient:
        """Return the client of the model with this label: the same connections, deadline and breaker as this one's."""
        return self._serving.setdefault(label, ModelClient(self._link, label))


def _parse(kind: type[Answer], response: httpx.Response) -> Answer:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise EmbedderUnavailable(f"the embedder's answer is no {kind.__name__}") from error


def _vectors(
    values: Sequence[Sequence[float]] | NDArray[Any], model: ModelInfo, count: int, label: str
) -> list[Vector]:
    """Check an answer against what was asked for; one vector per row."""
    if label != model.label:
        raise EmbedderUnavailable(f"expected vectors of {model.label}, the embedder answered with {label or 'no name'}")
    if len(values) != count or any(len(row) != model.dim for row in values):
        raise EmbeddingInvalid(f"expected {count} vectors of {model.dim} numbers")
    vectors = np.asarray(values, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    if not np.all(np.abs(norms - 1) <= _NORM_TOLERANCE):  # false for nan too
        raise EmbeddingInvalid("the embedder answered with vectors that are not normalised")
    return list(vectors)
