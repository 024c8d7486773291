"""How well duplicates are told: which changes of a picture are known again, and which others are taken for it.

The pictures are those of the folder named by `LIKENESS_BENCH_PHOTOS`, or drawn ones; the model is the demo model, or
the one named by `EMBEDDER__MODEL` and `EMBEDDER__PRETRAINED`.
"""

import itertools
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from common.duplicates import DuplicateSettings, Tier
from common.imaging import Preprocess, model_pixels, perceptual_hash, shrink
from embedder.device import choose_device
from embedder.model import Vectors
from embedder.openclip import OpenClipModel
from embedder.settings import EmbedderSettings
from embedder.weights import find_weights
from tests.benchmarks.measurements import AtLeast, Measurements
from tests.fixtures.photos import drawn_photos

PHOTOS = 300
TARGET = 0.95

Change = Callable[[Image.Image], Image.Image]


def measure() -> Measurements:
    """Return by change the share known again as near, and as near or similar; of the others, how many pairs were taken.

    `ratio` is the share of near ones among changes that leave the picture what it is.
    """
    settings = EmbedderSettings(model=os.environ.get("EMBEDDER__MODEL", "demo"))
    model = OpenClipModel(find_weights(settings), choose_device(settings))
    thresholds = DuplicateSettings().thresholds()
    photos = _photos()
    vectors, hashes = _looks(model, photos)
    result: dict[str, Any] = {"model": model.info.label, "photos": len(photos)}
    known = []
    for name, change in (SAME | CHANGED).items():
        changed, changed_hashes = _looks(model, [change(photo) for photo in photos])
        tiers = [
            thresholds.tier(_distance(one, other), float(mine @ theirs))
            for one, other, mine, theirs in zip(hashes, changed_hashes, vectors, changed, strict=True)
        ]
        near, similar = tiers.count(Tier.NEAR) / len(tiers), tiers.count(Tier.SIMILAR) / len(tiers)
        result[name] = [near, near + similar]
        if name in SAME:
            known.append(near)
    pairs = list(itertools.combinations(range(len(photos)), 2))
    others = [thresholds.tier(_distance(hashes[a], hashes[b]), float(vectors[a] @ vectors[b])) for a, b in pairs]
    result |= {
        "other_pairs": len(pairs),
        "taken_for_near": others.count(Tier.NEAR),
        "taken_for_similar": others.count(Tier.SIMILAR),
    }
    return result | {"ratio": AtLeast(float(np.mean(known)), TARGET)}


def _photos() -> list[Image.Image]:
    folder = os.environ.get("LIKENESS_BENCH_PHOTOS")
    if folder is None:
        return [_opened(data) for data in drawn_photos(PHOTOS)]
    return [_opened(path.read_bytes()) for path in sorted(Path(folder).rglob("*.jpg"))[:PHOTOS]]


def _looks(model: OpenClipModel, images: list[Image.Image]) -> tuple[Vectors, list[int | None]]:
    preprocess = Preprocess(**model.info.preprocess.model_dump())
    pixels = [model_pixels(image, preprocess) for image in images]
    batches = [model.encode_pixels(np.stack(pixels[start : start + 16])) for start in range(0, len(pixels), 16)]
    return np.concatenate(batches), [perceptual_hash(shrink(image)) for image in images]


def _distance(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else (one ^ other).bit_count()


def _opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


def _encoded(format_: str, quality: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, format_, quality=quality)
        return _opened(file.getvalue())

    return change


def _scaled(factor: float) -> Change:
    return lambda image: image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))))


def _cropped(share: float) -> Change:
    def change(image: Image.Image) -> Image.Image:
        across, down = round(image.width * share), round(image.height * share)
        return image.crop((across, down, image.width - across, image.height - down))

    return change


def _marked(image: Image.Image) -> Image.Image:
    marked = image.copy()
    width, height = image.size
    draw = ImageDraw.Draw(marked)
    draw.rectangle((width * 0.7, height * 0.9, width * 0.98, height * 0.97), fill=(255, 255, 255))
    draw.text((width * 0.72, height * 0.91), "example", fill=(0, 0, 0))
    return marked


SAME: dict[str, Change] = {
    "jpeg 85": _encoded("JPEG", 85),
    "jpeg 30": _encoded("JPEG", 30),
    "webp 60": _encoded("WEBP", 60),
    "half": _scaled(0.5),
    "quarter": _scaled(0.25),
    "x 1.7": _scaled(1.7),
    "brighter 15 %": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker 25 %": lambda image: ImageEnhance.Brightness(image).enhance(0.75),
    "contrast + 20 %": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
}
"""What leaves a picture what it is."""

CHANGED: dict[str, Change] = {
    "grey": lambda image: image.convert("L").convert("RGB"),
    "edges cut 1 %": _cropped(0.01),
    "edges cut 2.5 %": _cropped(0.025),
    "edges cut 5 %": _cropped(0.05),
    "marked": _marked,
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}
"""What makes another one of it, more or less."""
