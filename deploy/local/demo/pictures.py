"""The sample pictures: some scenes chosen for the queries and for what resembles them, the rest by lot."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from common.api_client import FileUpload
from embedder.demo.scenes import Scene, draw_scene, random_scene

TAG: Final = "demo"
PICTURES: Final = 240
PER_SCENE: Final = 6
SIZE: Final = 320
_SEED = 20_240
_JPEG_QUALITY = 92

WANTED: Final = Scene("red", "circle", 1, "blue")
ALSO_WANTED: Final = (Scene("yellow", "star", 3, "black"), Scene("green", "heart", 2, "white"))
# One attribute off: a search that finds the right one among these has understood all of the sentence.
_LOOKALIKES = (
    Scene("blue", "circle", 1, "red"),
    Scene("red", "circle", 3, "blue"),
    Scene("red", "circle", 1, "white"),
    Scene("red", "square", 1, "blue"),
    Scene("green", "circle", 1, "blue"),
)


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures of one scene: what describes one describes all, so they can share a request."""

    scene: Scene
    files: tuple[FileUpload, ...]

    @property
    def fields(self) -> dict[str, str | list[str]]:
        """The descriptive fields of the request."""
        return {"tags": [TAG], "category": self.scene.shape, "title": self.scene.caption}


def choose_scenes() -> list[Scene]:
    """Return the scenes, all different and always the same."""
    rng = Random(_SEED)  # noqa: S311
    scenes = dict.fromkeys((WANTED, *ALSO_WANTED, *_LOOKALIKES))
    while len(scenes) < PICTURES // PER_SCENE:
        scenes[random_scene(rng)] = None
    return list(scenes)


def draw_groups() -> Iterator[Group]:
    """Draw `PER_SCENE` pictures of each scene; the same bytes every time, so a second demo adds nothing."""
    for number, scene in enumerate(choose_scenes()):
        rng = Random(_SEED + 1 + number)  # noqa: S311
        yield Group(scene, tuple(_draw(scene, rng, f"{number:02}-{each}.jpg") for each in range(1, PER_SCENE + 1)))


def _draw(scene: Scene, rng: Random, filename: str) -> FileUpload:
    encoded = io.BytesIO()
    draw_scene(scene, rng, SIZE).save(encoded, "JPEG", quality=_JPEG_QUALITY)
    return FileUpload(filename, encoded.getvalue())
