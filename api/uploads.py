"""Multipart bodies, read as they stream in: bounded, hashed on the way, spooled to unnamed temporary files."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.settings import UploadSettings
from common.errors import ImageTooLarge, InvalidInput, StorageUnavailable, UnsupportedMedia
from common.received import ReceivedFile, clean_filename

_FILE_FIELD = "file"
_MAX_FIELDS = 200
_MAX_FIELD_BYTES = 64 * 1024
_MAX_HEADER_BYTES = 8 * 1024
_MAX_BOUNDARY_BYTES = 70  # RFC 2046, 5.1.1


@dataclass(slots=True)
class ReceivedForm:
    """The fields and files of a request, in the order they came."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[ReceivedFile] = field(default_factory=list)


@asynccontextmanager
async def receive_form(request: Request, limits: UploadSettings) -> AsyncIterator[ReceivedForm]:
    """Read a multipart request; files larger than `max_file_bytes` are marked, their excess is not kept.

    Raises:
        UnsupportedMedia: the request is not `multipart/form-data`.
        ImageTooLarge: the request is larger than `max_request_bytes`, or has more than `max_files` files.
        InvalidInput: the multipart structure is broken or its fields are out of bounds.
        StorageUnavailable: the temporary files can't be written.
        ClientDisconnect: the client went away; nothing is left behind.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.max_request_bytes:
        raise _request_too_large(limits)
    with ExitStack() as spools:
        receiver = _Receiver(_boundary(request), limits, spools)
        async for chunk in _unless_stalled(request.stream(), limits.idle_timeout_s):
            await asyncio.to_thread(receiver.feed, chunk)
        yield receiver.finish()


async def _unless_stalled(chunks: AsyncIterator[bytes], idle_timeout_s: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(idle_timeout_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise InvalidInput(f"nothing came for {idle_timeout_s:g} seconds", code="upload_stalled") from None
        yield chunk


def _boundary(request: Request) -> bytes:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != b"multipart/form-data":
        raise UnsupportedMedia("send the files as multipart/form-data", code="multipart_expected")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= _MAX_BOUNDARY_BYTES:
        raise InvalidInput("the multipart request names no valid boundary", code="malformed_multipart")
    return boundary


def _request_too_large(limits: UploadSettings) -> ImageTooLarge:
    return ImageTooLarge(f"a request may have {limits.max_request_bytes} bytes", code="request_too_large")


@dataclass(slots=True)
class _Part:
    """The part that is being received: a field in memory, or a file on its spool."""

    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    value: bytearray = field(default_factory=bytearray)
    file: ReceivedFile | None = None


class _Receiver:
    """Takes the body chunk by chunk; `feed` blocks (it hashes and writes files) and belongs on a thread."""

    def __init__(self, boundary: bytes, limits: UploadSettings, spools: ExitStack) -> None:
        self._limits = limits
        self._spools = spools
        self._form = ReceivedForm()
        self._received = 0
        self._complete = False
        self._part = _Part()
        self._fields = 0
        self._header = (bytearray(), bytearray())
        self._header_bytes = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._open_part,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received > self._limits.max_request_bytes:
            raise _request_too_large(self._limits)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidInput(f"the multipart request is malformed: {error}", code="malformed_multipart") from error
        except OSError as error:
            raise StorageUnavailable(f"temporary storage: {error.strerror}", code="spool_unavailable") from error

    def finish(self) -> ReceivedForm:
        if not self._complete:
            raise InvalidInput("the multipart request ends too early", code="malformed_multipart")
        return self._form

    def _begin_part(self) -> None:
        self._part = _Part()
        self._header_bytes = 0

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._add_header(0, data[start:end])

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._add_header(1, data[start:end])

    def _add_header(self, half: int, data: bytes) -> None:
        self._header[half].extend(data)
        self._header_bytes += len(data)
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise InvalidInput("the headers of a multipart part are too long", code="malformed_multipart")

    def _end_header(self) -> None:
        # Latin-1 keeps every byte; `parse_options_header` encodes it back, and names are then read as UTF-8.
        name, value = (half.decode("latin-1") for half in self._header)
        self._part.headers[name.lower()] = value
        self._header = (bytearray(), bytearray())

    def _open_part(self) -> None:
        part = self._part
        _, options = parse_options_header(part.headers.get("content-disposition", ""))
        if b"name" not in options:
            raise InvalidInput("a multipart part has no name", code="malformed_multipart")
        part.name = options[b"name"].decode("utf-8", "replace")
        if b"filename" not in options and b"filename*" not in options:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise InvalidInput(f"a form may have {_MAX_FIELDS} fields", code="too_many_fields")
            return
        if part.name != _FILE_FIELD:
            raise InvalidInput(f"files go into the field {_FILE_FIELD!r}, not {part.name!r}", code="unknown_field")
        if len(self._form.files) >= self._limits.max_files:
            raise ImageTooLarge(f"a request may have {self._limits.max_files} files", code="too_many_files")
        part.file = ReceivedFile.open(clean_filename(options.get(b"filename", b"")))
        self._spools.callback(part.file.close)
        self._form.files.append(part.file)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        part, piece = self._part, memoryview(data)[start:end]
        if part.file is None:
            part.value.extend(piece)
            if len(part.value) > _MAX_FIELD_BYTES:
                raise InvalidInput(f"the field {part.name!r} is longer than {_MAX_FIELD_BYTES} bytes")
            return
        part.file.write(piece, self._limits.max_file_bytes)

    def _end_part(self) -> None:
        part = self._part
        if part.file is not None:
            part.file.finish()
            return
        try:
            value = part.value.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(f"the field {part.name!r} is not UTF-8") from error
        self._form.fields.setdefault(part.name, []).append(value)

    def _end(self) -> None:
        self._complete = True
