"""Drawn scenes: what the demo model learns from, and what `make demo` uploads.

Needs Pillow and numpy alone. Every function draws all its chance from the `random.Random` it is
given, so a seed names a picture for good.
"""

import math
from dataclasses import astuple, dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from embedder.demo import canvas
from embedder.demo.captions import Caption, canonical, word
from embedder.demo.outlines import OUTLINES, rotated
from embedder.demo.vocabulary import BACKGROUNDS, COLOURS, COUNTS, PALETTE, SHAPES

ATTRIBUTES = ("colour", "shape", "count", "background")

_SUPERSAMPLING = 4  # outlines are drawn this much larger and averaged down: antialiasing
_RADII = {1: (0.17, 0.38), 2: (0.15, 0.24), 3: (0.13, 0.2), 4: (0.12, 0.175)}  # of the picture's side
_TILT = math.radians(22)  # a square turned much further would read as a diamond
_JPEG_SHARE = 0.4
_SHADOW_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Scene:
    """One to four equal shapes of one colour on a background of another."""

    colour: str
    shape: str
    count: int
    background: str

    def __post_init__(self) -> None:
        if self.colour == self.background:
            raise ValueError(f"{self.colour} shapes cannot be seen on {self.background}")

    @property
    def caption(self) -> str:
        """The plain description: "a red circle on a blue background"."""
        return canonical(self.colour, self.shape, self.count, self.background)

    def shared_with(self, other: "Scene") -> int:
        """Return how many of the four attributes two scenes have in common."""
        return sum(mine == theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))


def random_scene(rng: Random) -> Scene:
    """Return a scene, each possible one being equally likely but for the colours' difference."""
    background = rng.choice(BACKGROUNDS)
    colour = rng.choice([colour for colour in COLOURS if colour != background])
    return Scene(colour, rng.choice(SHAPES), rng.choice(COUNTS), background)


def captions(scene: Scene, rng: Random) -> list[Caption]:
    """Return two wordings: one that tells all of the scene, one that tells a part of it."""
    words = {"colour": scene.colour, "shape": scene.shape, "background": scene.background}
    part = frozenset(rng.sample(ATTRIBUTES, rng.randint(1, len(ATTRIBUTES) - 1)))
    return [word(words, scene.count, names, rng) for names in (frozenset(ATTRIBUTES), part)]


def draw_scene(scene: Scene, rng: Random, size: int = 320) -> Image.Image:
    """Return an RGB picture of the scene, `size` pixels square: places, tilts and light are chance."""
    mask = _shapes(scene, rng, size)
    ground = canvas.background(PALETTE[scene.background], size, rng)
    if rng.random() < _SHADOW_SHARE:
        ground = ground * canvas.shadow(mask, rng)
    cover = np.asarray(mask, dtype=np.float32)[:, :, None] / 255
    pixels = ground + (canvas.fill(PALETTE[scene.colour], size, rng) - ground) * cover
    pixels += canvas.grain(size, rng)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return canvas.recompressed(image, rng) if rng.random() < _JPEG_SHARE else image


def _shapes(scene: Scene, rng: Random, size: int) -> Image.Image:
    """Return where the shapes cover the picture, as an antialiased "L" mask."""
    large = size * _SUPERSAMPLING
    mask = Image.new("L", (large, large))
    draw = ImageDraw.Draw(mask)
    for x, y, radius in _places(scene.count, rng):
        corners = rotated(OUTLINES[scene.shape], rng.uniform(-_TILT, _TILT)) * radius + (x, y)
        draw.polygon((corners * large).ravel().tolist(), fill=255)
    return mask.reduce(_SUPERSAMPLING)


def _places(count: int, rng: Random) -> list[tuple[float, float, float]]:
    """Return centres and radii, in sides of the picture, of circles that do not touch."""
    radius = rng.uniform(*_RADII[count])
    places: list[tuple[float, float, float]] = []
    while len(places) < count:
        own = radius * rng.uniform(0.9, 1.1)
        x, y = rng.uniform(own, 1 - own), rng.uniform(own, 1 - own)
        if all(math.hypot(x - other_x, y - other_y) > own + other + 0.02 for other_x, other_y, other in places):
            places.append((x, y, own))
        else:
            radius *= 0.99  # a crowded picture gets smaller shapes, so that a place is found
    return places
