"""From settings to weights on this machine, and to a stable identity for them."""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError
from embedder import hub
from embedder.demo.weights import CONFIG as DEMO_CONFIG
from embedder.demo.weights import NAME as DEMO_NAME
from embedder.demo.weights import WEIGHTS as DEMO_WEIGHTS
from embedder.lean import open_clip
from embedder.settings import EmbedderSettings

DEMO = "demo"
RANDOM = "random"

constants = open_clip.constants
_HUB_PREFIX = "hf-hub:"
_HASH_DIGITS = 12


@dataclass(frozen=True)
class Weights:
    """What `open_clip.create_model` needs, and what the model is called."""

    name: str
    identity: str
    source: str
    """The model's name as open_clip takes it: an architecture, or `local-dir:` and a folder."""
    tokenizer: str
    checkpoint: Path | None
    """None: random weights (asked for by name), or they lie in `source`'s folder."""
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    quick_gelu: bool = False
    demo: bool = False
    random: bool = False


def find_weights(settings: EmbedderSettings) -> Weights:
    """Find the configured weights; download them when they are not cached.

    open_clip serves random weights, in silence, for an empty tag; here they must be asked for by name.

    Raises:
        HubUnreachable: they are not cached and the hub can't be reached.
        ConfigurationError: there are no such weights.
    """
    path = Path(settings.pretrained)
    if settings.model in {DEMO, DEMO_NAME} and settings.pretrained != RANDOM and not path.is_file():
        return _demo(settings.pretrained)
    if settings.model.startswith(_HUB_PREFIX):
        return _from_hub(settings.model.removeprefix(_HUB_PREFIX), settings.hub_timeout_s)
    name = DEMO_NAME if settings.model == DEMO else settings.model.replace("/", "-")
    _register_demo()
    if open_clip.get_model_config(name) is None:
        raise ConfigurationError(f"EMBEDDER__MODEL={settings.model} is no architecture that open_clip knows")
    if settings.pretrained == RANDOM:
        return Weights(name, RANDOM, source=name, tokenizer=name, checkpoint=None, random=True)
    if not settings.pretrained.strip():
        raise ConfigurationError("EMBEDDER__PRETRAINED is empty; random weights must be asked for as 'random'")
    if path.is_file():
        return Weights(name, _identity_of_own(path), source=name, tokenizer=name, checkpoint=path)
    return _from_tag(name, settings.pretrained, settings.hub_timeout_s)


def _identity_of_own(path: Path) -> str:
    try:
        return checkpoint_identity(path)
    except OSError as error:
        raise ConfigurationError(f"EMBEDDER__PRETRAINED={path} can't be read: {error.strerror}") from error


def checkpoint_identity(path: Path) -> str:
    """Name a local checkpoint by what it holds: its file name and the start of its SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{path.stem}@{digest[:_HASH_DIGITS]}"


def _demo(pretrained: str) -> Weights:
    _register_demo()
    identity = checkpoint_identity(DEMO_WEIGHTS)
    if pretrained.startswith(f"{DEMO_NAME}@") and pretrained != identity:
        raise ConfigurationError(
            f"EMBEDDER__PRETRAINED={pretrained} are other demo weights than this version brings ({identity});"
            " embed the images again with the new ones"
        )
    return Weights(DEMO_NAME, identity, source=DEMO_NAME, tokenizer=DEMO_NAME, checkpoint=DEMO_WEIGHTS, demo=True)


def _from_tag(name: str, tag: str, timeout_s: float) -> Weights:
    config = open_clip.get_pretrained_cfg(name, tag)
    if not config:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ConfigurationError(f"EMBEDDER__PRETRAINED={tag} is neither a file nor a tag of {name}; its tags: {tags}")
    repo, _, filename = config["hf_hub"].rpartition("/")
    checkpoint = hub.fetch(repo, _weight_files(filename), timeout_s)
    quick_gelu = bool(config.get("quick_gelu", False))
    return Weights(
        name, tag, source=name, tokenizer=name, checkpoint=checkpoint, preprocess=config, quick_gelu=quick_gelu
    )


def _from_hub(repo: str, timeout_s: float) -> Weights:
    config_file = hub.fetch(repo, (constants.HF_CONFIG_NAME,), timeout_s)
    hub.fetch(repo, _weight_files(""), timeout_s)
    folder = config_file.parent
    text = json.loads(config_file.read_bytes()).get("model_cfg", {}).get("text_cfg", {})
    source = f"local-dir:{folder}"
    # A tokenizer of its own lies in the hub's repository, not among the files fetched here.
    tokenizer = f"{_HUB_PREFIX}{repo}" if text.get("hf_tokenizer_name") else source
    revision = folder.name[:_HASH_DIGITS]
    return Weights(f"{_HUB_PREFIX}{repo}", revision, source=source, tokenizer=tokenizer, checkpoint=None)


def _weight_files(filename: str) -> tuple[str, ...]:
    """List a repository's weight files in order of preference: safetensors, which run no code, first."""
    name = filename or constants.HF_WEIGHTS_NAME
    safe = (
        constants.HF_SAFE_WEIGHTS_NAME
        if name == constants.HF_WEIGHTS_NAME
        else str(Path(name).with_suffix(".safetensors"))
    )
    return tuple(dict.fromkeys((safe, name)))


@functools.cache
def _register_demo() -> None:
    open_clip.add_model_config(DEMO_CONFIG)
