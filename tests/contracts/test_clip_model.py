"""What every `ClipModel` promises, asked of the fake, the bundled demo model and a full-size architecture."""

from collections.abc import Callable

import numpy as np
import pytest

from embedder.loader import load_model
from embedder.model import ClipModel, Pixels, ignore_steps
from embedder.selftest import check
from embedder.settings import EmbedderSettings
from tests.fakes.clip_model import FakeClipModel


def load(model: str, pretrained: str = "") -> ClipModel:
    settings = EmbedderSettings(model=model, pretrained=pretrained, device="cpu", precision="fp32")
    return load_model(settings, ignore_steps)


MODELS: dict[str, Callable[[], ClipModel]] = {
    "fake": FakeClipModel,
    "demo": lambda: load("demo"),
    "ViT-B-32-random": lambda: load("ViT-B-32", "random"),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> ClipModel:
    return MODELS[request.param]()


@pytest.fixture
def pixels(model: ClipModel) -> Pixels:
    size = model.info.image_size
    return np.random.default_rng(7).integers(0, 256, (3, size, size, 3), dtype=np.uint8)


def test_images_give_normalised_vectors(model: ClipModel, pixels: Pixels) -> None:
    vectors = model.encode_pixels(pixels)

    assert vectors.shape == (3, model.info.dim)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)


def test_texts_give_normalised_vectors(model: ClipModel) -> None:
    vectors = model.encode_texts(["a red circle", "", "word " * 400])

    assert vectors.shape == (3, model.info.dim)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)


def test_tokens_tell_which_texts_are_cut(model: ClipModel) -> None:
    short, empty, long = model.count_tokens(["a red circle", "", "word " * 400])

    assert 0 < empty < short <= model.info.context_length < long


def test_an_image_has_its_vector_in_any_batch_at_any_place(model: ClipModel, pixels: Pixels) -> None:
    together = model.encode_pixels(pixels)
    reversed_ = model.encode_pixels(np.ascontiguousarray(pixels[::-1]))[::-1]
    alone = np.concatenate([model.encode_pixels(pixels[i : i + 1]) for i in range(3)])

    assert np.sum(together * reversed_, axis=1).min() >= 0.9999
    assert np.sum(together * alone, axis=1).min() >= 0.9999


def test_a_text_has_its_vector_in_any_batch(model: ClipModel) -> None:
    texts = ["a red circle", "three green stars on white", "x"]

    alone = np.concatenate([model.encode_texts([text]) for text in texts])

    assert np.sum(model.encode_texts(texts) * alone, axis=1).min() >= 0.9999


def test_different_inputs_have_different_vectors(model: ClipModel, pixels: Pixels) -> None:
    images = model.encode_pixels(pixels[:2])
    texts = model.encode_texts(["a red circle", "a blue square"])

    assert images[0] @ images[1] < 0.99999
    assert texts[0] @ texts[1] < 0.99999


def test_input_pixels_are_left_alone_and_may_be_read_only(model: ClipModel, pixels: Pixels) -> None:
    frozen = np.frombuffer(pixels.tobytes(), dtype=np.uint8).reshape(pixels.shape)

    assert np.array_equal(model.encode_pixels(frozen), model.encode_pixels(pixels))


def test_info_is_consistent(model: ClipModel) -> None:
    info = model.info

    assert info.preprocess.size == info.image_size
    assert info.label == f"{info.name}/{info.pretrained}"
    assert "\\" not in info.pretrained
    assert "/" not in info.pretrained
    assert type(info).model_validate_json(info.model_dump_json()) == info


def test_passes_the_self_test(model: ClipModel) -> None:
    assert check(model).images.shape[1] == model.info.dim
