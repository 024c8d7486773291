"""An embedder without a model: it speaks the wire contract of `common/embedding.py`, and misbehaves on demand.

A vector is the mean colours of the picture's strips, so other pictures have other vectors; a text's is drawn by its
hash. There are two models, the default one with strips across, another with strips down. `PUT /script` with
`{"answer": …}` says how pixels are answered from then on; `ANSWERS` has the names. `GET /pictures` says how many
came. Run it as `python -m tests.fakes.embedder_server PORT`.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from zlib import crc32

import numpy as np
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.embedding import (
    COUNT_HEADER,
    DIM_HEADER,
    MODEL_HEADER,
    MODEL_PARAMETER,
    PIXELS_MEDIA_TYPE,
    SIZE_HEADER,
    ModelInfo,
    Models,
    PreprocessInfo,
    Readiness,
    TextsEncoded,
    TextsRequest,
)
from common.imaging import PREPROCESS_VERSION

DIM = 16
SIZE = 32
SLOW_S = 1.0
MODEL = ModelInfo(
    name="strips",
    pretrained="v1",
    dim=DIM,
    image_size=SIZE,
    preprocess=PreprocessInfo(size=SIZE),
    preprocess_version=PREPROCESS_VERSION,
    context_length=77,
    device="cpu",
    precision="fp32",
)
OTHER_MODEL = MODEL.model_copy(update={"pretrained": "v2"})
MODELS = {model.label: model for model in (MODEL, OTHER_MODEL)}

Vectors = NDArray[np.float32]


def embed(pixels: NDArray[np.uint8], model: ModelInfo = MODEL) -> Vectors:
    """Return (N, D) normalised vectors of (N, S, S, 3) pictures."""
    turned = pixels if model == MODEL else pixels.transpose(0, 2, 1, 3)
    strips = turned.reshape(len(pixels), DIM, -1).mean(axis=2, dtype=np.float64) - 127.5
    strips[:, 0] += 1e-3  # an even grey has a vector as well
    return np.asarray(strips / np.linalg.norm(strips, axis=1, keepdims=True), dtype=np.float32)


def _answer(vectors: Vectors, **headers: str) -> Response:
    count, dim = vectors.shape
    usual = {COUNT_HEADER: str(count), DIM_HEADER: str(dim)}
    return Response(vectors.astype("<f4").tobytes(), media_type=PIXELS_MEDIA_TYPE, headers=usual | headers)


def _one_not_a_number(vectors: Vectors) -> Response:
    spoilt = vectors.copy()
    spoilt[0, 0] = np.nan
    return _answer(spoilt)


ANSWERS: Mapping[str, Callable[[Vectors], Response]] = {
    "right": _answer,
    "slow": _answer,
    "500": lambda _: JSONResponse({"code": "internal_error", "detail": "scripted"}, 500),
    "429": lambda _: JSONResponse({"code": "overloaded", "detail": "scripted"}, 429, headers={"Retry-After": "1"}),
    "garbage": lambda _: Response("<html>It works!</html>"),
    "too few": lambda vectors: _answer(vectors[1:]),
    "wrong dim": lambda vectors: _answer(vectors[:, : DIM // 2]),
    "nan": _one_not_a_number,
    "not normalised": lambda vectors: _answer(vectors * 2),
    "another model": lambda vectors: _answer(vectors, **{MODEL_HEADER: "other/v1"}),
}


class EmbedderServer:
    """The service's state and its answers."""

    def __init__(self) -> None:
        self._script = "right"
        self._pictures = 0

    def app(self) -> Starlette:
        """Return the ASGI app."""
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/ready", self._ready),
                Route("/models", self._models),
                Route("/model", self._model),
                Route("/script", self._follow, methods=["PUT"]),
                Route("/pictures", self._count),
                Route("/encode/pixels", self._encode_pixels, methods=["POST"]),
                Route("/encode/text", self._encode_text, methods=["POST"]),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _ready(self, _: Request) -> Response:
        return JSONResponse(Readiness(status="ready", detail="scripted", model=MODEL).model_dump())

    async def _models(self, _: Request) -> Response:
        return JSONResponse(Models(default=MODEL.label, models=list(MODELS.values())).model_dump())

    async def _model(self, request: Request) -> Response:
        model = _asked(request)
        return JSONResponse(model.model_dump()) if model else _unknown()

    async def _follow(self, request: Request) -> Response:
        self._script = (await request.json())["answer"]
        return JSONResponse(sorted(ANSWERS), 200 if self._script in ANSWERS else 422)

    async def _count(self, _: Request) -> Response:
        return JSONResponse(self._pictures)

    async def _encode_pixels(self, request: Request) -> Response:
        model = _asked(request)
        if model is None:
            return _unknown()
        count, size = int(request.headers[COUNT_HEADER]), int(request.headers[SIZE_HEADER])
        self._pictures += count
        pixels = np.frombuffer(await request.body(), dtype=np.uint8).reshape(count, size, size, 3)
        if self._script == "slow":
            await asyncio.sleep(SLOW_S)
        answer = ANSWERS[self._script](embed(pixels, model))
        answer.headers.setdefault(MODEL_HEADER, model.label)
        return answer

    async def _encode_text(self, request: Request) -> Response:
        model = _asked(request)
        if model is None:
            return _unknown()
        texts = TextsRequest.model_validate_json(await request.body()).texts
        vectors = [np.random.default_rng(crc32(text.encode())).standard_normal(DIM) for text in texts]
        answer = TextsEncoded(
            embeddings=[(vector / np.linalg.norm(vector)).tolist() for vector in vectors],
            truncated=[False] * len(texts),
            model=model.label,
            dim=DIM,
        )
        return JSONResponse(answer.model_dump())


def _asked(request: Request) -> ModelInfo | None:
    return MODELS.get(request.query_params.get(MODEL_PARAMETER, MODEL.label))


def _unknown() -> Response:
    return JSONResponse({"code": "unknown_model", "detail": "scripted"}, 404)


if __name__ == "__main__":
    uvicorn.run(EmbedderServer().app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
