"""The drawn scenes: what is drawn and said agrees with the scene, and a seed decides all of it."""

import subprocess
import sys
from itertools import product
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from embedder.demo.outlines import OUTLINES, rotated
from embedder.demo.scenes import ATTRIBUTES, Scene, captions, draw_scene, random_scene
from embedder.demo.vocabulary import BACKGROUNDS, COLOURS, COUNTS, PALETTE, SHAPES


def pixels_of(scene: Scene, seed: int, size: int) -> NDArray[np.int16]:
    return np.asarray(draw_scene(scene, Random(seed), size)).astype(np.int16)


def covered(scene: Scene, seed: int, size: int = 160) -> NDArray[np.bool_]:
    """Return which pixels are nearer to the shapes' colour than to the background's."""
    pixels = pixels_of(scene, seed, size)
    to_shape, to_ground = (
        np.abs(pixels - np.array(PALETTE[name])).sum(axis=2) for name in (scene.colour, scene.background)
    )
    nearer: NDArray[np.bool_] = to_shape < to_ground
    return nearer


def count_islands(mask: NDArray[np.bool_], least: int) -> int:
    """Return how many 4-connected regions have at least `least` pixels."""
    todo = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    islands = 0
    while todo:
        edge, size = [todo.pop()], 0
        while edge:
            y, x = edge.pop()
            size += 1
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & todo
            todo -= near
            edge.extend(near)
        islands += size >= least
    return islands


@pytest.mark.parametrize(
    ("scene", "caption"),
    [
        (Scene("red", "circle", 1, "blue"), "a red circle on a blue background"),
        (Scene("orange", "star", 1, "grey"), "an orange star on a grey background"),
        (Scene("green", "star", 3, "white"), "three green stars on a white background"),
        (Scene("black", "cross", 2, "yellow"), "two black crosses on a yellow background"),
    ],
)
def test_caption_is_plain_english(scene: Scene, caption: str) -> None:
    assert scene.caption == caption


def test_scene_refuses_shapes_nobody_could_see() -> None:
    with pytest.raises(ValueError, match="red shapes cannot be seen on red"):
        Scene("red", "circle", 1, "red")


def test_shared_with_counts_equal_attributes() -> None:
    scene = Scene("red", "circle", 1, "blue")
    assert scene.shared_with(scene) == 4
    assert scene.shared_with(Scene("red", "star", 1, "blue")) == 3
    assert scene.shared_with(Scene("green", "star", 2, "white")) == 0


def test_random_scenes_use_the_whole_vocabulary() -> None:
    rng = Random(0)
    scenes = [random_scene(rng) for _ in range(500)]
    assert {scene.colour for scene in scenes} == set(COLOURS)
    assert {scene.shape for scene in scenes} == set(SHAPES)
    assert {scene.count for scene in scenes} == set(COUNTS)
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)


def test_a_seed_decides_scene_picture_and_captions() -> None:
    def make(seed: int) -> tuple[Scene, bytes, list[str]]:
        rng = Random(seed)
        scene = random_scene(rng)
        return scene, draw_scene(scene, rng, 64).tobytes(), [caption.text for caption in captions(scene, rng)]

    assert make(1) == make(1)
    assert make(1) != make(2)


def test_pictures_of_one_scene_differ() -> None:
    scene = Scene("red", "circle", 1, "blue")
    assert len({draw_scene(scene, Random(seed), 64).tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize("size", [1, 64, 97, 320])
def test_picture_has_the_size_asked_for(size: int) -> None:
    image = draw_scene(Scene("red", "circle", 4, "blue"), Random(0), size)
    assert (image.mode, image.size) == ("RGB", (size, size))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", COUNTS)
def test_picture_shows_as_many_shapes_as_the_scene_says(shape: str, count: int) -> None:
    for seed in range(3):
        assert count_islands(covered(Scene("blue", shape, count, "white"), seed), least=40) == count


@pytest.mark.parametrize(
    ("colour", "background"), [pair for pair in product(COLOURS, BACKGROUNDS) if pair[0] != pair[1]]
)
def test_picture_shows_its_two_colours(colour: str, background: str) -> None:
    scene = Scene(colour, "circle", 1, background)
    for seed in range(2):
        pixels, mask = pixels_of(scene, seed, 96), covered(scene, seed, 96)
        for name, region in ((colour, mask), (background, ~mask)):
            median = np.median(pixels[region], axis=0)
            nearest = min(PALETTE, key=lambda other: float(np.abs(median - np.array(PALETTE[other])).sum()))
            assert nearest == name


def test_each_shape_has_an_outline_of_its_own_filling_the_unit_circle() -> None:
    assert set(OUTLINES) == set(SHAPES)
    for outline in OUTLINES.values():
        assert outline.shape[1] == 2
        assert 0.9 <= np.linalg.norm(outline, axis=1).max() <= 1.01
    assert len({outline.tobytes() for outline in OUTLINES.values()}) == len(SHAPES)


def test_rotation_turns_by_the_angle_given() -> None:
    turned = rotated(np.array([(1.0, 0.0), (0.0, 2.0)]), np.pi / 2)
    assert turned == pytest.approx(np.array([(0.0, 1.0), (-2.0, 0.0)]))


def test_captions_tell_what_they_name_and_nothing_else() -> None:
    scene = Scene("brown", "heart", 3, "yellow")
    telling = {"colour": {"brown"}, "shape": {"heart", "hearts"}, "count": {"three", "3"}, "background": {"yellow"}}
    seen = set()
    for seed in range(300):
        whole, part = captions(scene, Random(seed))
        assert whole.names == set(ATTRIBUTES)
        assert part.names < whole.names
        for caption in (whole, part):
            words = set(caption.text.replace(",", "").split())
            assert caption.names == {name for name, said in telling.items() if said & words}
        seen.add(part.names)
    assert len(seen) == 14  # every choice of one, two or three of the four


def test_captions_vary_in_wording() -> None:
    scene = Scene("red", "circle", 1, "blue")
    texts = {captions(scene, Random(seed))[0].text for seed in range(200)}
    assert len(texts) > 30
    assert scene.caption in texts


def test_scenes_need_neither_torch_nor_open_clip() -> None:
    program = "import sys, embedder.demo.scenes; print(sorted({'torch', 'open_clip'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
