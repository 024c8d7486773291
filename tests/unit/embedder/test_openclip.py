"""The demo model through the one code path that all models take."""

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from common.errors import ConfigurationError, EmbedderUnavailable
from common.imaging import Preprocess, model_pixels
from embedder.demo.weights import CONFIG, WEIGHTS
from embedder.loader import load_model
from embedder.model import HubUnreachable, ignore_steps
from embedder.openclip import OpenClipModel
from embedder.settings import EmbedderSettings
from tests.fixtures.pictures import picture


def load(**settings: object) -> OpenClipModel:
    model = load_model(EmbedderSettings.model_validate({"model": "demo", "device": "cpu"} | settings), ignore_steps)
    assert isinstance(model, OpenClipModel)
    return model


@pytest.fixture(scope="module")
def demo() -> OpenClipModel:
    return load()


@pytest.mark.parametrize("size", [(64, 64), (320, 200), (33, 401)])
def test_images_are_embedded_as_open_clip_does_itself(demo: OpenClipModel, size: tuple[int, int]) -> None:
    image: Image.Image = picture(*size)
    reference, preprocess = open_clip.create_model_from_pretrained("likeness-demo", pretrained=str(WEIGHTS))
    with torch.inference_mode():
        expected = reference.eval().encode_image(preprocess(image)[None], normalize=True)[0].numpy()

    pixels = model_pixels(image, Preprocess(**demo.info.preprocess.model_dump()))

    assert demo.encode_pixels(pixels[None])[0] @ expected >= 0.9999


def test_texts_are_embedded_as_open_clip_does_itself(demo: OpenClipModel) -> None:
    text = "a red circle on a blue background"
    reference, _ = open_clip.create_model_from_pretrained("likeness-demo", pretrained=str(WEIGHTS))
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer("likeness-demo")([text])
        expected = reference.eval().encode_text(tokens, normalize=True)[0].numpy()

    assert demo.encode_texts([text])[0] @ expected >= 0.9999


def test_tokens_are_counted_as_they_are_cut(demo: OpenClipModel) -> None:
    context = demo.info.context_length
    for word in ("circle", "don't", "Größenwahn", "<end_of_text>", "&amp;", "∑"):
        each = demo.count_tokens([word])[0] - 2  # but for start and end
        fits = " ".join([word] * ((context - 2) // each))
        last = demo._tokenize([fits])[0]
        assert demo.count_tokens([fits])[0] == int((last != 0).sum()) <= context
        full = fits + " a" * (context - demo.count_tokens([fits])[0])
        assert demo.count_tokens([full, full + " a"]) == [context, context + 1]
        assert demo._tokenize([full]).tolist() == demo._tokenize([full + " a"]).tolist()  # the end is not read


def test_info_of_the_demo_model(demo: OpenClipModel) -> None:
    info = demo.info

    assert (info.name, info.demo, info.image_size, info.device, info.precision) == (
        "likeness-demo",
        True,
        64,
        "cpu",
        "fp32",
    )
    assert info.pretrained.startswith("likeness-demo@")


def test_random_weights_are_the_same_each_time() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)

    first, second = load(pretrained="random"), load(pretrained="random")

    assert np.array_equal(first.encode_pixels(pixels), second.encode_pixels(pixels))
    assert not first.info.demo


def test_a_batch_too_large_for_the_gpu_runs_in_parts(demo: OpenClipModel, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    whole = demo.encode_pixels(pixels)
    forward, sizes = demo._forward_pixels, []

    def small(
        batch: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return forward(batch)

    monkeypatch.setattr(demo, "_forward_pixels", small)

    assert np.sum(demo.encode_pixels(pixels) * whole, axis=1).min() >= 0.9999
    assert sizes == [7, 3, 1, 2, 4, 2, 2]


def test_no_memory_for_a_single_image_is_an_error(demo: OpenClipModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_batch: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(demo, "_forward_pixels", none)

    with pytest.raises(EmbedderUnavailable) as caught:
        demo.encode_pixels(np.zeros((3, 64, 64, 3), np.uint8))
    assert caught.value.code == "out_of_memory"


def test_vectors_that_are_none_are_refused(demo: OpenClipModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_forward_pixels", lambda batch: np.full((len(batch), 128), np.nan))

    with pytest.raises(EmbedderUnavailable) as caught:
        demo.encode_pixels(np.zeros((1, 64, 64, 3), np.uint8))
    assert caught.value.code == "suspect_vectors"


def test_weights_of_another_architecture_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="can't load ViT-B-32 / likeness-demo@"):
        load(model="ViT-B-32", pretrained=str(WEIGHTS))


def test_a_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    for name in ("broken.safetensors", "broken.pt"):
        (tmp_path / name).write_bytes(b"no weights" * 100)
        with pytest.raises(ConfigurationError, match=f"can't load likeness-demo / {Path(name).stem}@"):
            load(pretrained=str(tmp_path / name))


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(ConfigurationError, match="needs a GPU"):
        load(precision="fp16")


@pytest.fixture
def cached_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The demo model as if it had been downloaded from a hub that is gone by now."""
    revision = "fedcba9876543210fedcba9876543210fedcba98"
    snapshot = tmp_path / "models--likeness--demo/snapshots" / revision
    snapshot.mkdir(parents=True)
    shutil.copy(WEIGHTS, snapshot / "open_clip_model.safetensors")
    config = {"model_cfg": json.loads(CONFIG.read_text()), "preprocess_cfg": {"resize_mode": "squash"}}
    (snapshot / "open_clip_config.json").write_text(json.dumps(config))
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text(revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return revision


def test_a_cached_hub_model_loads_offline(cached_repository: str, demo: OpenClipModel) -> None:
    model = load(model="hf-hub:likeness/demo")

    assert model.info.label == f"hf-hub:likeness/demo/{cached_repository[:12]}"
    assert model.info.preprocess.resize_mode == "squash"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    assert np.allclose(model.encode_pixels(pixels), demo.encode_pixels(pixels), atol=1e-5)
    assert np.allclose(model.encode_texts(["a red circle"]), demo.encode_texts(["a red circle"]), atol=1e-5)


@pytest.mark.usefixtures("cached_repository")
def test_a_cached_tag_loads_offline_with_its_own_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    tag = {"hf_hub": "likeness/demo/", "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-B-32", {"likeness": tag})
    monkeypatch.setattr(open_clip, "create_model", lambda _name, *args, **kw: _create("likeness-demo", *args, **kw))

    model = load(model="ViT-B-32", pretrained="likeness")

    assert model.info.label == "ViT-B-32/likeness"
    assert model.info.preprocess.interpolation == "bilinear"
    assert model._shift.flatten().tolist() == pytest.approx([-1, -1, -1])


_create = open_clip.create_model


def test_without_hub_and_cache_the_message_names_the_remedies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(HubUnreachable, match=r"ViT-B-32 / laion2b_s34b_b79k: .*EMBEDDER__MODEL=demo.*local checkpoint"):
        load(model="ViT-B-32")
    assert load(model="ViT-B-32", fallback="demo").info.demo
