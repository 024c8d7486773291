"""What the pool and its sandboxed children say to each other, over the children's standard pipes.

A child gets its `ChildConfig` as an argument, answers `READY`, then gets one image at a time, after the models' wishes
(each a length and bytes), and gives one answer to each: head, then for a picture its hash, its pixels, once for each
wish, and thumbnail, for a refusal its code and message. Plain lengths and bytes: a child that a hostile image took over
can send nothing that the worker would execute.
"""

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from common.errors import ImageRejected, ImageTooLarge, ImageUnreadable, UnsupportedMedia
from common.imaging import Preprocess
from worker.render import Rendered

READY = b"\x06"
OUT_OF_MEMORY = "decode_out_of_memory"

LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">BIII")  # kind; a picture's width, height, thumbnail length; a refusal's code and message length
_HASH = struct.Struct(">?Q")  # whether there is one, and its bits
_PICTURE = 0
_REFUSALS: dict[int, type[ImageRejected]] = {1: ImageUnreadable, 2: ImageTooLarge, 3: UnsupportedMedia}
_MAX_PART = 4 * 1024 * 1024
_MAX_MESSAGE = 500
_CODE = re.compile(r"[a-z][a-z_]{0,63}")


class Reader(Protocol):
    """The reading end of a pipe."""

    async def readexactly(self, n: int, /) -> bytes:
        """Read `n` bytes; raises `asyncio.IncompleteReadError` when there are fewer."""


class GarbledAnswer(ValueError):
    """A child's answer makes no sense."""


@dataclass(frozen=True, slots=True)
class ChildConfig:
    """What a child needs to know. Its `max_pixels` and `max_side` are the `SizePolicy` it works by.

    Attributes:
        max_pixels: see `ImagePolicy`.
        max_side: see `ImagePolicy`.
        memory_bytes: address space on top of what an idle child has.
        cpu_s: processor seconds for one image.
        renderer: `module:function`, a `worker.render.Renderer`.
        parent_pid: the process whose death the child must not survive.
    """

    max_pixels: int
    max_side: int
    memory_bytes: int
    cpu_s: float
    renderer: str
    parent_pid: int

    def to_json(self) -> str:
        """As the child's one argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ChildConfig":
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


def pack_wishes(preprocesses: Sequence[Preprocess]) -> bytes:
    """What the models wish for, with its length before it."""
    wishes = json.dumps([asdict(preprocess) for preprocess in preprocesses]).encode()
    return LENGTH.pack(len(wishes)) + wishes


def unpack_wishes(data: bytes) -> list[Preprocess]:
    """Read what `pack_wishes` wrote after the length."""
    return [Preprocess(**wish) for wish in json.loads(data)]


def pack_picture(rendered: Rendered) -> list[bytes]:
    """The answer that carries a rendered image, in parts."""
    head = _HEAD.pack(_PICTURE, rendered.width, rendered.height, len(rendered.thumbnail))
    hashed = _HASH.pack(rendered.perceptual_hash is not None, rendered.perceptual_hash or 0)
    return [head, hashed, *(pixels.tobytes() for pixels in rendered.pixels), rendered.thumbnail]


def pack_refusal(error: ImageRejected) -> list[bytes]:
    """The answer that carries a verdict on the image, in parts."""
    kind = next((kind for kind, type_ in _REFUSALS.items() if isinstance(error, type_)), 1)
    code, message = error.code.encode(), str(error).encode(errors="replace")
    return [_HEAD.pack(kind, len(code), len(message), 0), code, message]


async def read_answer(reader: Reader, sizes: Sequence[int]) -> Rendered:
    """Read a child's answer; `sizes` are the sides of the squares it was to make.

    Raises:
        ImageRejected: the child's verdict on the image.
        GarbledAnswer: the answer makes no sense.
        asyncio.IncompleteReadError: the child is gone.
    """
    kind, first, second, third = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if kind == _PICTURE:
        hashed, bits = _HASH.unpack(await reader.readexactly(_HASH.size))
        pixels = [await reader.readexactly(size * size * 3) for size in sizes]
        thumbnail = await _read_part(reader, third)
        squares = zip(pixels, sizes, strict=True)
        inputs = tuple(np.frombuffer(data, dtype=np.uint8).reshape(size, size, 3) for data, size in squares)
        return Rendered(inputs, thumbnail, first, second, bits if hashed else None)
    refusal = _REFUSALS.get(kind)
    if refusal is None:
        raise GarbledAnswer(f"an answer of unknown kind {kind}")
    code = (await _read_part(reader, first)).decode(errors="replace")
    message = (await _read_part(reader, second)).decode(errors="replace")
    if not _CODE.fullmatch(code):
        raise GarbledAnswer("a refusal without a proper code")
    raise refusal(message[:_MAX_MESSAGE], code=code)


async def _read_part(reader: Reader, length: int) -> bytes:
    if length > _MAX_PART:
        raise GarbledAnswer(f"an answer with a part of {length} bytes")
    return await reader.readexactly(length)
