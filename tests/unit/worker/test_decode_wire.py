import asyncio
import struct

import numpy as np
import pytest

from common.errors import ImageRejected, ImageTooLarge, ImageUnreadable, UnsupportedMedia
from common.imaging import Preprocess
from worker.decode_wire import (
    LENGTH,
    ChildConfig,
    GarbledAnswer,
    pack_picture,
    pack_refusal,
    pack_wishes,
    read_answer,
    unpack_wishes,
)
from worker.render import Rendered


def reader(data: bytes) -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return stream


@pytest.mark.parametrize("bits", [None, 0, 2**64 - 1])
async def test_a_picture_arrives_as_it_was_sent(bits: int | None) -> None:
    pixels = tuple(np.arange(size * size * 3, dtype=np.uint8).reshape(size, size, 3) for size in (4, 2))

    received = await read_answer(reader(b"".join(pack_picture(Rendered(pixels, b"webp", 640, 480, bits)))), [4, 2])

    assert all((ours == theirs).all() for ours, theirs in zip(received.pixels, pixels, strict=True))
    assert (received.thumbnail, received.width, received.height) == (b"webp", 640, 480)
    assert received.perceptual_hash == bits


@pytest.mark.parametrize("type_", [ImageUnreadable, ImageTooLarge, UnsupportedMedia])
async def test_a_refusal_keeps_its_type_code_and_words(type_: type[ImageRejected]) -> None:
    sent = type_("größer als erlaubt", code="some_code")

    with pytest.raises(type_, match="größer als erlaubt") as refusal:
        await read_answer(reader(b"".join(pack_refusal(sent))), [4])

    assert refusal.value.code == "some_code"


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">BIII", 9, 0, 0, 0),
        struct.pack(">BIII", 0, 1, 1, 2**32 - 1) + bytes(9 + 48),
        b"".join(pack_refusal(ImageUnreadable("no", code="Robert'); DROP TABLE"))),
        b"".join(pack_refusal(ImageUnreadable("no", code="x" * 65))),
    ],
    ids=["unknown kind", "endless", "odd code", "long code"],
)
async def test_a_nonsensical_answer_is_noticed(data: bytes) -> None:
    with pytest.raises(GarbledAnswer):
        await read_answer(reader(data), [4])


async def test_the_words_of_a_refusal_are_few() -> None:
    with pytest.raises(ImageUnreadable) as refusal:
        await read_answer(reader(b"".join(pack_refusal(ImageUnreadable("x" * 100_000)))), [4])

    assert str(refusal.value) == "x" * 500


async def test_half_an_answer_is_noticed() -> None:
    whole = b"".join(pack_picture(Rendered((np.zeros((4, 4, 3), np.uint8),), b"webp", 4, 4)))

    with pytest.raises(asyncio.IncompleteReadError):
        await read_answer(reader(whole[:-1]), [4])


def test_a_childs_configuration_survives_the_trip() -> None:
    config = ChildConfig(1000, 100, 2**30, 1.5, "worker.render:render", 1)

    assert ChildConfig.from_json(config.to_json()) == config


def test_the_models_wishes_survive_the_trip() -> None:
    wishes = [Preprocess(224, "longest", "bilinear", 7), Preprocess(64)]

    assert unpack_wishes(pack_wishes(wishes)[LENGTH.size :]) == wishes
