import io
from itertools import islice

import pytest
from PIL import Image

from deploy.local.demo.pictures import (
    ALSO_WANTED,
    PER_SCENE,
    PICTURES,
    SIZE,
    WANTED,
    Group,
    choose_scenes,
    draw_groups,
)


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    return list(islice(draw_groups(), 3))


def test_the_scenes_are_different_and_make_the_number_promised() -> None:
    scenes = choose_scenes()
    assert len(set(scenes)) == len(scenes)
    assert len(scenes) * PER_SCENE == PICTURES == 240
    assert {WANTED, *ALSO_WANTED} <= set(scenes)
    assert WANTED.caption == "a red circle on a blue background"


def test_the_pictures_are_always_the_same_and_each_another(groups: list[Group]) -> None:
    again = list(islice(draw_groups(), 3))
    assert [group.files for group in groups] == [group.files for group in again]
    contents = {file.content for group in groups for file in group.files}
    assert len(contents) == 3 * PER_SCENE


def test_a_group_is_described_by_its_scene(groups: list[Group]) -> None:
    assert groups[0].fields == {"tags": ["demo"], "category": "circle", "title": WANTED.caption}


def test_the_files_are_pictures(groups: list[Group]) -> None:
    content = groups[0].files[0].content
    assert isinstance(content, bytes)
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (SIZE, SIZE))
