"""Backgrounds, fills and wear of a drawn picture, as float32 arrays (S, S, 3) in 0 to 255."""

import io
import math
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from embedder.demo.vocabulary import RGB

Pixels = NDArray[np.float32]


def shade(colour: RGB, rng: Random) -> Pixels:
    """Return a slightly lighter, darker or tinted variant of a colour, (3,)."""
    light = rng.uniform(0.9, 1.1)
    return np.clip([channel * light + rng.uniform(-8, 8) for channel in colour], 0, 255).astype(np.float32)


def background(colour: RGB, size: int, rng: Random) -> Pixels:
    """Return a background of one colour: plain, a gradient, a vignette or cloudy."""
    relief = rng.choice((_plain, _gradient, _vignette, _clouds))(size, rng)
    return shade(colour, rng) + rng.uniform(8, 24) * relief[:, :, None]


def fill(colour: RGB, size: int, rng: Random) -> Pixels:
    """Return what shapes are cut from: one colour, lit from a random side."""
    return shade(colour, rng) + rng.uniform(0, 14) * _gradient(size, rng)[:, :, None]


def shadow(mask: Image.Image, rng: Random) -> Pixels:
    """Return how much light reaches the background below the mask's soft shadow, (S, S, 1) in 0 to 1."""
    offset = max(1, round(mask.width * rng.uniform(0.01, 0.03)))
    cast = Image.new("L", mask.size)
    cast.paste(mask, (offset, offset))
    blurred = cast.filter(ImageFilter.GaussianBlur(mask.width * 0.015))
    depth = np.float32(rng.uniform(0.15, 0.35))
    return 1 - depth * np.asarray(blurred, dtype=np.float32)[:, :, None] / np.float32(255)


def grain(size: int, rng: Random) -> Pixels:
    """Return the noise of a sensor, (S, S, 3), around 0."""
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal((size, size, 3), dtype=np.float32)
    return rng.uniform(0, 6) * noise


def recompressed(image: Image.Image, rng: Random) -> Image.Image:
    """Return the image after a round trip through JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=rng.randint(55, 95))
    with Image.open(buffer) as copy:
        return copy.convert("RGB")


def _axes(size: int) -> tuple[Pixels, Pixels]:
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return axis[None, :], axis[:, None]


def _plain(size: int, rng: Random) -> Pixels:  # noqa: ARG001 - one signature for all reliefs
    return np.zeros((size, size), dtype=np.float32)


def _gradient(size: int, rng: Random) -> Pixels:
    x, y = _axes(size)
    angle = rng.uniform(0, 2 * math.pi)
    return x * math.cos(angle) + y * math.sin(angle)


def _vignette(size: int, rng: Random) -> Pixels:
    x, y = _axes(size)
    centre_x, centre_y = rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4)
    squared_distance: Pixels = (x - centre_x) ** 2 + (y - centre_y) ** 2
    return 0.5 - squared_distance / 1.6


def _clouds(size: int, rng: Random) -> Pixels:
    cells = rng.randint(3, 7)
    coarse = np.random.default_rng(rng.getrandbits(64)).random((cells, cells), dtype=np.float32) * 2 - 1
    smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32)
