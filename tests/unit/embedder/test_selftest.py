import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigurationError
from embedder import reference
from embedder.model import Vectors
from embedder.reference import TEXTS, encode_references, pictures, read_golden, write_golden
from embedder.selftest import SuspectVectors, check
from tests.fakes.clip_model import FakeClipModel


def test_pictures_are_fixed_and_different() -> None:
    made = pictures(32)

    assert made.shape == (4, 32, 32, 3)
    assert made.dtype == np.uint8
    assert len({picture.tobytes() for picture in made}) == 4
    assert np.array_equal(made, pictures(32))


def test_references_are_the_models_answers() -> None:
    model = FakeClipModel()

    references = check(model)

    assert np.array_equal(references.images, model.encode_pixels(pictures(8)))
    assert np.array_equal(references.texts, model.encode_texts(TEXTS))


def shift(vectors: Vectors) -> Vectors:
    """Answer wrongly in batches only, as a device with a broken kernel may."""
    return np.roll(vectors, 1, axis=0) if len(vectors) > 1 else vectors


@pytest.mark.parametrize(
    ("distort", "complaint"),
    [
        (shift, "in a batch is another than alone"),
        (lambda vectors: vectors * 1.01, "finite and normalised"),
        (lambda vectors: vectors * np.float32("nan"), "finite and normalised"),
        (lambda vectors: vectors[:, :-1], "not 16 numbers"),
    ],
)
def test_suspect_vectors_are_refused(distort: object, complaint: str) -> None:
    model = FakeClipModel()
    model.distort = distort  # type: ignore[assignment]

    with pytest.raises(SuspectVectors, match=complaint):
        check(model)


def demo_like(monkeypatch: pytest.MonkeyPatch, golden: Path) -> FakeClipModel:
    monkeypatch.setattr(reference, "GOLDEN", golden)
    model = FakeClipModel()
    model._info = model.info.model_copy(update={"demo": True})
    return model


def test_a_demo_model_must_match_its_golden_vectors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    golden = tmp_path / "golden.json"
    model = demo_like(monkeypatch, golden)
    with pytest.raises(ConfigurationError, match="no golden vectors"):
        check(model)

    references = encode_references(model)
    write_golden(model.info.pretrained, references)
    assert np.allclose(read_golden(model.info.pretrained).images, references.images, atol=1e-5)
    check(model)

    stored = json.loads(golden.read_text())
    stored["texts"] = stored["texts"][::-1]
    golden.write_text(json.dumps(stored))
    with pytest.raises(SuspectVectors, match="text's vector in a batch is another than among the golden"):
        check(model)


def test_golden_vectors_of_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = demo_like(monkeypatch, tmp_path / "golden.json")
    write_golden("other@000", encode_references(model))

    with pytest.raises(ConfigurationError, match="are of other@000"):
        check(model)
