"""An image's bytes and its thumbnail."""

import re
import unicodedata
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from api.conditions import Conditions, ConditionsDep
from api.dependencies import DatabaseDep, OwnerDep, StorageDep
from api.schemas.problem import problems
from common.db import images
from common.errors import Conflict, ObjectNotFound
from common.imaging import THUMBNAIL_MEDIA_TYPE, ImageFormat
from common.storage import ObjectStore, thumbnail_key

router = APIRouter(prefix="/images", tags=["images"])

# The bytes behind an id never change, but whether one may see them can.
_CACHE = "private, max-age=86400"

_SHOWN = frozenset(each.media_type for each in ImageFormat)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._ -]")


@router.head("/{image_id}/content", include_in_schema=False)
@router.get(
    "/{image_id}/content",
    response_class=StreamingResponse,
    responses={200: {"content": {"image/*": {}}}, 206: {}, 304: {}, 416: {}, **problems(404, 409, 422, 503)},
    summary="The original bytes",
)
async def content(
    image_id: UUID,
    database: DatabaseDep,
    storage: StorageDep,
    owner: OwnerDep,
    conditions: ConditionsDep,
) -> Response:
    """Answer the bytes as they were uploaded; one range may be asked for, of one version by `If-Range`.

    409: an import has none yet.
    """
    async with database.read() as session:
        image = await images.get(session, owner, image_id)
    if not image.has_bytes:
        raise Conflict(f"image {image_id} is {image.status} and has no bytes yet", code="content_not_ready")
    shown = image.media_type in _SHOWN  # whatever a row may say, nothing else is handed to a browser to show
    disposition = _disposition("inline" if shown else "attachment", image.filename)
    headers = _headers(image.sha256) | {"Content-Disposition": disposition}
    blob = _Blob(image.object_key, image.media_type if shown else "application/octet-stream", image.byte_size)
    return await _serve(storage, blob, headers, conditions)


@router.head("/{image_id}/thumbnail", include_in_schema=False)
@router.get(
    "/{image_id}/thumbnail",
    response_class=StreamingResponse,
    responses={200: {"content": {THUMBNAIL_MEDIA_TYPE: {}}}, 206: {}, 304: {}, 416: {}, **problems(404, 409, 422, 503)},
    summary="A small picture",
)
async def thumbnail(
    image_id: UUID,
    database: DatabaseDep,
    storage: StorageDep,
    owner: OwnerDep,
    conditions: ConditionsDep,
) -> Response:
    """Answer a WebP with at most 512 pixels a side; it exists once the image has been decoded."""
    async with database.read() as session:
        image = await images.get(session, owner, image_id)
    key = thumbnail_key(image.sha256) if image.has_bytes else None
    found = await storage.find(key) if key is not None else None
    if key is None or found is None:
        raise Conflict(f"image {image_id} is {image.status} and has no thumbnail", code="thumbnail_not_ready")
    blob = _Blob(key, THUMBNAIL_MEDIA_TYPE, found.size)
    return await _serve(storage, blob, _headers(found.etag), conditions)


@dataclass(frozen=True, slots=True)
class _Blob:
    key: str
    media_type: str
    size: int


def _headers(tag: str) -> dict[str, str]:
    return {
        "ETag": f'"{tag}"',
        "Cache-Control": _CACHE,
        "Accept-Ranges": "bytes",
        # Should a browser ever take the bytes for a document, it may do nothing with them.
        "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    }


def _disposition(kind: str, filename: str) -> str:
    """Name the file (RFC 6266): its letters percent-encoded, and a likeness in ASCII for those who can't read that."""
    plain = _NOT_PLAIN.sub("_", unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()).strip()
    return f"{kind}; filename=\"{plain or 'image'}\"; filename*=UTF-8''{quote(filename, safe='')}"


async def _serve(storage: ObjectStore, blob: _Blob, headers: dict[str, str], conditions: Conditions) -> Response:
    """Answer all of it, the range asked for, that the client has it already, or (HEAD) all but the bytes."""
    etag = headers["ETag"]
    if conditions.has_it_already(etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    span = conditions.wanted(etag, blob.size)
    if span is None:
        headers["Content-Length"] = str(blob.size)
        if conditions.method == "HEAD":
            return await _describe(storage, blob, headers)
        return await _stream(storage, blob, headers)
    if not span:
        headers["Content-Range"] = f"bytes */{blob.size}"
        return Response(status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
    headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{blob.size}"
    headers["Content-Length"] = str(len(span))
    return await _stream(storage, blob, headers, span)


async def _describe(storage: ObjectStore, blob: _Blob, headers: Mapping[str, str]) -> Response:
    """Answer what a GET would, its problems included, without reading the bytes."""
    if await storage.find(blob.key) is None:
        raise ObjectNotFound(f"object store: {blob.key} is not there")
    return Response(headers=headers, media_type=blob.media_type)


async def _stream(storage: ObjectStore, blob: _Blob, headers: Mapping[str, str], span: range | None = None) -> Response:
    """Start reading before answering, so that a missing object or a store that is down is still a clean problem."""
    chunks = storage.stream(blob.key, offset=span.start if span else 0, length=len(span) if span else None)
    first = await anext(chunks, b"")

    async def body() -> AsyncIterator[bytes]:
        async with aclosing(chunks):  # a client that goes away leaves no connection to the store behind
            yield first
            async for chunk in chunks:
                yield chunk

    status = HTTPStatus.PARTIAL_CONTENT if span else HTTPStatus.OK
    return StreamingResponse(body(), status, headers, blob.media_type)
