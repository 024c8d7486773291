"""The embedder's calls: images, texts and pixels to vectors. `common.embedding` is their contract."""

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from common.embedding import (
    COUNT_HEADER,
    DIM_HEADER,
    MODEL_HEADER,
    PIXELS_MEDIA_TYPE,
    VECTOR_DTYPE,
    BatchEncoded,
    BatchItem,
    Encoded,
    ItemError,
    ModelInfo,
    Models,
    TextsEncoded,
    TextsRequest,
)
from common.errors import ImageRejected
from embedder.bodies import FILE_FIELD, File, read_files, read_image, read_pixels
from embedder.dependencies import BulkCallerDep, CallerDep, DecoderDep, EngineDep, ServiceDep
from embedder.model import Pixels
from embedder.prompts import average, fill

router = APIRouter()

_BINARY = {"type": "string", "format": "binary"}


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {"type": "object", "required": [FILE_FIELD], "properties": {FILE_FIELD: schema}}
    return {"multipart/form-data": {"schema": properties}}


_ONE_IMAGE = {"requestBody": {"required": True, "content": _form(_BINARY) | {"image/*": {"schema": _BINARY}}}}
_MANY_IMAGES = {"requestBody": {"required": True, "content": _form({"type": "array", "items": _BINARY})}}
_PIXELS = {"requestBody": {"required": True, "content": {PIXELS_MEDIA_TYPE: {"schema": _BINARY}}}}


@router.get("/models")
async def get_models(service: ServiceDep) -> Models:
    """List the models that are served; `?model=LABEL` says which of them is to answer a call."""
    return service.list_models()


@router.get("/model")
async def get_model(engine: EngineDep) -> ModelInfo:
    """Say which model answers."""
    return engine.info


@router.post("/encode", openapi_extra=_ONE_IMAGE)
async def encode(request: Request, engine: EngineDep, decoder: DecoderDep, caller: CallerDep) -> Encoded:
    """Embed one encoded image."""
    pixels = await decoder.decode(await read_image(request), engine.info.preprocess)
    vectors = await engine.images.encode([pixels], caller)
    return Encoded(embedding=vectors[0].tolist(), model=engine.info.label, dim=engine.info.dim)


@router.post("/encode/batch", openapi_extra=_MANY_IMAGES)
async def encode_batch(request: Request, engine: EngineDep, decoder: DecoderDep, caller: BulkCallerDep) -> BatchEncoded:
    """Embed several encoded images; a rejected one is its own result and harms no other."""
    files = await read_files(request)

    async def try_decode(file: File) -> Pixels | ImageRejected:
        try:
            return await decoder.decode(file.data, engine.info.preprocess)
        except ImageRejected as error:
            return error

    decoded = await asyncio.gather(*(try_decode(file) for file in files))
    accepted = [pixels for pixels in decoded if isinstance(pixels, np.ndarray)]
    vectors = iter(await engine.images.encode(accepted, caller) if accepted else ())
    results = [
        BatchItem(filename=file.name, error=ItemError(code=outcome.code, detail=str(outcome)))
        if isinstance(outcome, ImageRejected)
        else BatchItem(filename=file.name, embedding=next(vectors).tolist())
        for file, outcome in zip(files, decoded, strict=True)
    ]
    return BatchEncoded(results=results, model=engine.info.label, dim=engine.info.dim)


@router.post("/encode/text")
async def encode_text(body: TextsRequest, engine: EngineDep, caller: CallerDep) -> TextsEncoded:
    """Embed texts; what is beyond the model's context length is cut off, and the answer says so."""
    prompts = await engine.texts.encode(fill(body.texts, body.templates), caller)
    texts = average(prompts, len(body.texts))
    return TextsEncoded(
        embeddings=[text.vector.tolist() for text in texts],
        truncated=[text.tokens > engine.info.context_length for text in texts],
        model=engine.info.label,
        dim=engine.info.dim,
    )


@router.post(
    "/encode/pixels",
    openapi_extra=_PIXELS,
    response_class=Response,
    responses={200: {"content": {PIXELS_MEDIA_TYPE: {"schema": _BINARY}}}},
)
async def encode_pixels(request: Request, engine: EngineDep, caller: BulkCallerDep) -> Response:
    """Embed preprocessed images: raw uint8 in, raw float32 out; the workers' fast path."""
    pixels = await read_pixels(request, engine.info.image_size)
    vectors = np.stack(await engine.images.encode(list(pixels), caller))
    headers = {COUNT_HEADER: str(len(vectors)), DIM_HEADER: str(engine.info.dim), MODEL_HEADER: engine.info.label}
    return Response(vectors.astype(VECTOR_DTYPE).tobytes(), headers=headers, media_type=PIXELS_MEDIA_TYPE)
