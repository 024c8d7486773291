import errno
import os
from pathlib import Path

import pytest
from huggingface_hub import constants

from common.errors import ConfigurationError
from embedder import hub
from embedder.demo.weights import WEIGHTS
from embedder.model import HubUnreachable
from embedder.settings import EmbedderSettings
from embedder.weights import checkpoint_identity, find_weights

TAG = "laion2b_s34b_b79k"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache and no hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_random_weights_must_be_asked_for_by_name() -> None:
    found = find_weights(EmbedderSettings(model="ViT-B-32", pretrained="random"))

    assert (found.name, found.identity, found.random, found.checkpoint) == ("ViT-B-32", "random", True, None)
    for nothing in ("", " "):
        with pytest.raises(ConfigurationError, match="asked for as 'random'"):
            find_weights(EmbedderSettings(model="ViT-B-32", pretrained=nothing))


def test_unknown_names_are_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigurationError, match="no architecture"):
        find_weights(EmbedderSettings(model="ViT-Z-1"))
    with pytest.raises(ConfigurationError, match=f"neither a file nor a tag of ViT-B-32; its tags: .*{TAG}"):
        find_weights(EmbedderSettings(model="ViT-B-32", pretrained="no/such/file.pt"))


def test_uncached_weights_without_a_hub() -> None:
    with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE"):
        find_weights(EmbedderSettings(model="ViT-B-32", pretrained=TAG))
    with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE"):
        find_weights(EmbedderSettings(model="hf-hub:some/model"))


def test_cached_weights_need_no_hub(tmp_path: Path) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub/models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"
    file = repo / "snapshots" / revision / "open_clip_model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(revision)

    found = find_weights(EmbedderSettings(model="ViT-B-32", pretrained=TAG))

    assert found.checkpoint == file
    assert found.identity == TAG
    assert found.preprocess["interpolation"] == "bicubic"


def test_openai_weights_bring_their_activation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "fetch", lambda _repo, files, _timeout: tmp_path / files[0])

    assert find_weights(EmbedderSettings(model="ViT-B-32", pretrained="openai")).quick_gelu
    assert not find_weights(EmbedderSettings(model="ViT-B-32", pretrained=TAG)).quick_gelu


def test_a_local_checkpoint_is_named_by_its_content_never_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"abc")

    found = find_weights(EmbedderSettings(model="ViT-B-32", pretrained=str(file)))

    assert found.checkpoint == file
    assert found.identity == "mine@ba7816bf8f01"  # SHA-256 of "abc"


def test_a_checkpoint_that_may_not_be_read_is_told_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.touch()

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(
        ConfigurationError, match=r"EMBEDDER__PRETRAINED=.*mine.safetensors can't be read: Permission denied"
    ):
        find_weights(EmbedderSettings(model="ViT-B-32", pretrained=str(file)))


@pytest.mark.parametrize("name", ["demo", "likeness-demo"])
def test_the_demo_model_is_bundled(name: str) -> None:
    found = find_weights(EmbedderSettings(model=name))

    assert found.demo
    assert found.name == "likeness-demo"
    assert found.checkpoint == WEIGHTS
    assert found.identity == checkpoint_identity(WEIGHTS)
    assert find_weights(EmbedderSettings(model=found.name, pretrained=found.identity)) == found


def test_other_demo_weights_than_the_bundled_ones_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="other demo weights"):
        find_weights(EmbedderSettings(model="likeness-demo", pretrained="likeness-demo@000000000000"))


def test_the_demo_architecture_with_random_weights_is_no_demo() -> None:
    found = find_weights(EmbedderSettings(model="demo", pretrained="random"))

    assert (found.name, found.identity, found.demo) == ("likeness-demo", "random", False)
