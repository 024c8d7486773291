"""Client of the embedder. Whatever it returns has been checked: count, length, finite, normalised, the right model."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from common.breakers import Breaker
from common.embedding import (
    COUNT_HEADER,
    DIM_HEADER,
    MAX_IMAGES,
    MAX_TEXT_CHARS,
    MAX_TEXTS,
    MODEL_HEADER,
    PIXELS_MEDIA_TYPE,
    SIZE_HEADER,
    TIMEOUT_HEADER,
    VECTOR_DTYPE,
    Encoded,
    ModelInfo,
    Readiness,
    TextsEncoded,
    TextsRequest,
)
from common.errors import (
    EmbedderUnavailable,
    EmbeddingInvalid,
    ImageRejected,
    ImageTooLarge,
    ImageUnreadable,
    InvalidInput,
    Overloaded,
    UnsupportedMedia,
)
from common.settings import EmbedderClientSettings
from common.tls import verify

Vector = NDArray[np.float32]
Answer = TypeVar("Answer", bound=BaseModel)

_CONNECT_TIMEOUT_S = 2.0
_READY_TIMEOUT_S = 3.0
_KEEPALIVE_S = 2.0  # less than the server's, so that it never closes a connection just as we reuse it
_NORM_TOLERANCE = 1e-3
_IMAGE_ERRORS: Mapping[int, type[ImageRejected]] = {413: ImageTooLarge, 415: UnsupportedMedia, 422: ImageUnreadable}


class EmbedderClient:
    """Talks to one embedder service (or the load balancer before several with the same model).

    `model()` asks which model answers, and pins it: vectors of any other model are refused until `model()` is
    called again. The other calls pin it on first use.

    Raises, from every call but `ready()`:
        EmbedderUnavailable: no answer in time, not ready, or an answer that can't be right.
        EmbeddingInvalid: the same, where one of several inputs may be the cause.
        Overloaded: its queue is full.
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
        self._breaker = breaker
        if breaker is not None:
            breaker.probe_with(self._ping)
        self._timeout_s = settings.timeout_s
        self._model: ModelInfo | None = None
        self._http = httpx.AsyncClient(
            base_url=settings.url,
            timeout=httpx.Timeout(settings.timeout_s, connect=min(_CONNECT_TIMEOUT_S, settings.timeout_s)),
            limits=httpx.Limits(keepalive_expiry=_KEEPALIVE_S),
            verify=verify(settings.url),
            trust_env=False,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ready(self) -> Readiness:
        """Ask whether the embedder serves, within a few seconds; never raises."""
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                response = await self._http.get("/ready")
            return Readiness.model_validate_json(response.content)
        except (httpx.HTTPError, TimeoutError, ValidationError) as error:
            return Readiness(status="unreachable", detail=f"no usable answer from the embedder: {_say(error)}")

    async def _ping(self) -> None:
        readiness = await self.ready()
        if not readiness.ok:
            raise EmbedderUnavailable(readiness.detail)

    async def model(self) -> ModelInfo:
        """Ask which model answers, and pin it."""
        self._model = _parse(ModelInfo, await self._request("GET", "/model"))
        return self._model

    async def encode_pixels(self, images: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        """Embed preprocessed images.

        Args:
            images: each (S, S, 3), from `common.imaging.model_pixels` with the model's preprocessing.

        Returns:
            One vector (D,) per image, in order.
        """
        model = await self._pinned()
        shape = (model.image_size, model.image_size, 3)
        if any(image.shape != shape or image.dtype != np.uint8 for image in images):
            raise ValueError(f"{model.label} takes uint8 images of shape {shape}")
        vectors: list[Vector] = []
        for start in range(0, len(images), MAX_IMAGES):
            vectors += await self._encode_pixels(model, images[start : start + MAX_IMAGES])
        return vectors

    async def encode_image(self, data: bytes) -> Vector:
        """Embed an encoded image (JPEG, PNG, …); the embedder decodes it.

        Raises:
            ImageRejected: the image itself is at fault; `.code` says how.
        """
        model = await self._pinned()
        headers = {"Content-Type": "image/*"}
        response = await self._request("POST", "/encode", content=data, headers=headers, rejects_images=True)
        answer = _parse(Encoded, response)
        return _vectors([answer.embedding], model, 1, answer.model)[0]

    async def encode_texts(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts; one vector (D,) per text, in order.

        Raises:
            InvalidInput: a text is longer than `MAX_TEXT_CHARS`.
        """
        if any(len(text) > MAX_TEXT_CHARS for text in texts):
            raise InvalidInput(f"a text may have at most {MAX_TEXT_CHARS} characters", code="text_too_long")
        model = await self._pinned()
        vectors: list[Vector] = []
        for start in range(0, len(texts), MAX_TEXTS):
            batch = list(texts[start : start + MAX_TEXTS])
            body = TextsRequest(texts=batch).model_dump()
            answer = _parse(TextsEncoded, await self._request("POST", "/encode/text", json=body))
            vectors += _vectors(answer.embeddings, model, len(batch), answer.model)
        return vectors

    async def _pinned(self) -> ModelInfo:
        return self._model or await self.model()

    async def _encode_pixels(self, model: ModelInfo, images: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        headers = {
            "Content-Type": PIXELS_MEDIA_TYPE,
            COUNT_HEADER: str(len(images)),
            SIZE_HEADER: str(model.image_size),
        }
        body = b"".join(image.tobytes() for image in images)
        response = await self._request("POST", "/encode/pixels", content=body, headers=headers)
        if response.headers.get(DIM_HEADER) != str(model.dim):
            raise EmbedderUnavailable(f"the embedder answered other vectors than of {model.dim} numbers")
        if (
            response.headers.get(COUNT_HEADER) != str(len(images))
            or len(response.content) != len(images) * model.dim * 4
        ):
            raise EmbeddingInvalid(f"the embedder answered another number of vectors than {len(images)}")
        values = np.frombuffer(response.content, dtype=VECTOR_DTYPE).reshape(len(images), model.dim)
        return _vectors(values, model, len(images), response.headers.get(MODEL_HEADER, ""))

    async def _request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        rejects_images: bool = False,
    ) -> httpx.Response:
        """Make one call under the total deadline; answer a 200, raise for everything else."""
        budget = {TIMEOUT_HEADER: str(int(self._timeout_s * 1000))}
        with self._breaker.guard() if self._breaker else nullcontext():
            try:
                async with asyncio.timeout(self._timeout_s):
                    response = await self._http.request(
                        method, path, content=content, json=json, headers={**budget, **(headers or {})}
                    )
            except (httpx.HTTPError, TimeoutError) as error:
                raise EmbedderUnavailable(f"no answer from the embedder: {_say(error)}") from error
            if response.is_server_error:
                raise _error(response, rejects_images=False)
        if response.status_code != httpx.codes.OK:
            raise _error(response, rejects_images=rejects_images)
        return response


def _error(response: httpx.Response, *, rejects_images: bool) -> Exception:
    code, detail = _problem(response)
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return Overloaded(detail, retry_after=_retry_after(response))
    rejection = _IMAGE_ERRORS.get(response.status_code)
    if rejects_images and rejection is not None and code not in (None, InvalidInput.default_code):
        return rejection(detail, code=code)
    return EmbedderUnavailable(f"the embedder answered {response.status_code}: {detail}")


def _problem(response: httpx.Response) -> tuple[str | None, str]:
    """Read code and detail of a problem; an answer that is none (a proxy's page) has no code."""
    try:
        body = response.json()
    except ValueError:
        return None, response.reason_phrase
    if not isinstance(body, dict) or not isinstance(body.get("code"), str):
        return None, response.reason_phrase
    return body["code"], str(body.get("detail") or body["code"])


def _retry_after(response: httpx.Response) -> float:
    try:
        return min(60.0, max(0.0, float(response.headers.get("Retry-After", "1"))))
    except ValueError:
        return 1.0


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


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__
