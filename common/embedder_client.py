"""Client of the embedder. Whatever it returns has been checked: count, length, finite, normalised, the right model."""

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

import httpx
import numpy as np
from numpy.typing import NDArray

from common.breakers import Breaker
from common.embedder_address import Call
from common.embedder_answers import EmbeddedText, Vector, parse, read_image, read_model, read_pixels, read_texts
from common.embedder_link import EmbedderLink
from common.embedding import (
    COUNT_HEADER,
    MAX_IMAGES,
    MAX_TEXTS,
    MODEL_PARAMETER,
    PIXELS_MEDIA_TYPE,
    PRIORITY_HEADER,
    SIZE_HEADER,
    VERSION_PARAMETER,
    ModelInfo,
    Models,
    Priority,
    Readiness,
    TextsRequest,
)
from common.prompts import check_templates, check_texts
from common.settings import EmbedderClientSettings


class ModelClient:
    """One model of an embedder: the default one, or the one with a label.

    `model()` asks which model answers, and pins it: vectors of any other model, or of the same by another version of
    preprocessing, are refused until `model()` is called again. The other calls pin it on first use.

    Raises, from every call:
        EmbedderUnavailable: no answer in time, not ready, or an answer that can't be right.
        EmbeddingInvalid: the same, where one of several inputs may be the cause.
        UnknownModel: the embedder does not serve the model of this label, or by another version only.
        Overloaded: its queue is full.
    """

    def __init__(self, link: EmbedderLink, label: str | None = None, version: int | None = None) -> None:
        self._link = link
        self._label = label
        self._version = version
        self._model: ModelInfo | None = None

    async def model(self) -> ModelInfo:
        """Ask which model answers, and pin it."""
        call = Call("GET", "/model", self._query(self._version))
        self._model = await self._link.request(call, partial(read_model, self._version))
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
        call = Call(
            "POST", "/encode", self._query(model.preprocess_version), content=data, headers=headers, rejects_images=True
        )
        return await self._link.request(call, partial(read_image, model))

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

    def _query(self, version: int | None) -> dict[str, str]:
        named = {MODEL_PARAMETER: self._label, VERSION_PARAMETER: None if version is None else str(version)}
        return {parameter: value for parameter, value in named.items() if value is not None}

    async def _embed_texts(self, model: ModelInfo, body: TextsRequest, priority: Priority) -> list[EmbeddedText]:
        headers = {PRIORITY_HEADER: priority}
        query = self._query(model.preprocess_version)
        call = Call("POST", "/encode/text", query, json=body.model_dump(), headers=headers)
        return await self._link.request(call, partial(read_texts, model, len(body.texts)))

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
        call = Call("POST", "/encode/pixels", self._query(model.preprocess_version), content=body, headers=headers)
        return await self._link.request(call, partial(read_pixels, model, len(images)))


class EmbedderClient(ModelClient):
    """Talks to one embedder service: one process, or several with the same models, over which it spreads its calls.

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
            breaker: opens when no address answers, or with a 5xx. An answer that can't be right may be one image's
                doing. Of several addresses each has one of its own.
            transport: replaces the network in tests.
        """
        super().__init__(EmbedderLink(settings, breaker, transport))
        self._serving: dict[tuple[str, int | None], ModelClient] = {}

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
        """Ask which models are served, the default one first, and pin `serving`'s clients to what they are.

        Of several addresses each is asked. A model counts if one serves it, and once for each version of preprocessing
        that it is served by; the default one is that of the first.
        """
        answers = await self._link.ask_all(Call("GET", "/models"), partial(parse, Models))
        known: dict[tuple[str, int], ModelInfo] = {}
        for model in (model for answer in answers for model in answer.models):
            known.setdefault((model.label, model.preprocess_version), model)
        for model in reversed(known.values()):  # so that the first version is the one for those who name none
            self.serving(model.label).pin(model)
            self.serving(model.label, model.preprocess_version).pin(model)
        default = answers[0].default
        return sorted(known.values(), key=lambda model: model.label != default)

    def serving(self, label: str, version: int | None = None) -> ModelClient:
        """Return the client of the model with this label: the same connections, deadline and breaker as this one's.

        With a `version` of preprocessing, it is answered by addresses alone that serve this one, now and later.
        """
        return self._serving.setdefault((label, version), ModelClient(self._link, label, version))
