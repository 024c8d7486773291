"""Reads request bodies: encoded images in any of their wrappings, and raw pixels."""

from dataclasses import dataclass

import numpy as np
from fastapi import Request
from starlette.datastructures import UploadFile

from common.embedding import COUNT_HEADER, MAX_IMAGES, SIZE_HEADER
from common.errors import InvalidInput, UnsupportedMedia
from embedder.model import Pixels

FILE_FIELD = "file"
_MAX_FIELDS = 8


@dataclass(frozen=True)
class File:
    """One encoded image as it came in."""

    name: str | None
    data: bytes


async def read_image(request: Request) -> bytes:
    """Read the one encoded image of a request: multipart field `file`, or the raw body.

    Raises:
        UnsupportedMedia: the body is declared as something else.
        InvalidInput: a URL, which is not fetched, or not exactly one file.
    """
    media_type = _media_type(request)
    if media_type == "multipart/form-data":
        files = await read_files(request, most=1)
        return files[0].data
    if media_type.startswith("image/") or media_type == "application/octet-stream":
        return await request.body()
    if media_type == "application/json":
        raise InvalidInput("this service fetches no URLs; send the image itself", code="url_fetch_disabled")
    raise UnsupportedMedia(f"send an image as multipart/form-data, field {FILE_FIELD}, or as a raw image/* body")


async def read_files(request: Request, *, most: int = MAX_IMAGES) -> list[File]:
    """Read the files of a multipart request, at least one, in order.

    Raises:
        UnsupportedMedia: the body is no multipart form.
        InvalidInput: there is no field `file`, or one that is no file.
    """
    if _media_type(request) != "multipart/form-data":
        raise UnsupportedMedia(f"send images as multipart/form-data, field {FILE_FIELD}")
    async with request.form(max_files=most, max_fields=_MAX_FIELDS) as form:
        uploads = form.getlist(FILE_FIELD)
        if not uploads:
            raise InvalidInput(f"the form has no field {FILE_FIELD}")
        return [await _read_file(upload) for upload in uploads]


async def read_pixels(request: Request, size: int) -> Pixels:
    """Read the raw pixels of a request: (N, S, S, 3) uint8.

    Args:
        request: its headers say N and S.
        size: the S that the model takes.

    Raises:
        InvalidInput: N or S is missing or out of range, or the body has another length than they say.
    """
    count = read_number(request, COUNT_HEADER, most=MAX_IMAGES)
    if read_number(request, SIZE_HEADER, most=size) != size:
        raise InvalidInput(f"the model takes images of {size} by {size} pixels", code="wrong_image_size")
    body = await request.body()
    shape = (count, size, size, 3)
    if len(body) != np.prod(shape):
        raise InvalidInput(f"{count} images are {np.prod(shape)} bytes, not {len(body)}", code="wrong_length")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


async def _read_file(upload: UploadFile | str) -> File:
    if isinstance(upload, str):
        raise InvalidInput(f"the field {FILE_FIELD} is a text, not a file")
    return File(upload.filename, await upload.read())


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_number(request: Request, header: str, *, most: int) -> int:
    """Read the number from 1 to `most` in a header; raise `InvalidInput` where there is none."""
    value = request.headers.get(header, "")
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and 1 <= int(value) <= most):
        raise InvalidInput(f"the header {header} must be a number from 1 to {most}")
    return int(value)
