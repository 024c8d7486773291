"""How well a model finds drawn scenes it has never seen: the two figures the demo model must reach."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch
from PIL import Image
from torch import Tensor

from embedder.demo.scenes import Scene, draw_scene, random_scene
from embedder.demo.weights import Preprocess
from embedder.lean import open_clip

_BATCH = 100  # pictures through the model at once


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Retrieval among drawn scenes."""

    text_recall: float
    """Share of the distinct descriptions whose first picture shows exactly what they say."""
    shared_attributes: float
    """How many of the 4 attributes a picture and its nearest other picture share, on average."""

    def __str__(self) -> str:
        return f"text→image recall@1 {self.text_recall:.3f}, neighbours share {self.shared_attributes:.3f} of 4"


def draw_scenes(seeds: range, size: int) -> tuple[list[Scene], list[Image.Image]]:
    """Return one scene for each seed, and its picture, `size` pixels square."""
    scenes, images = [], []
    for seed in seeds:
        rng = Random(seed)  # noqa: S311 - pictures, not secrets
        scene = random_scene(rng)
        scenes.append(scene)
        images.append(draw_scene(scene, rng, size))
    return scenes, images


@torch.inference_mode()
def embed_images(model: open_clip.CLIP, preprocess: Preprocess, images: list[Image.Image]) -> Tensor:
    """Return normalised embeddings of the pictures, (N, D)."""
    chunks = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    stacks = (torch.stack([preprocess(image) for image in chunk]) for chunk in chunks)
    return torch.cat([model.encode_image(stack, normalize=True) for stack in stacks])


@torch.inference_mode()
def embed_texts(model: open_clip.CLIP, tokenize: Callable[[list[str]], Tensor], texts: list[str]) -> Tensor:
    """Return normalised embeddings of the sentences, (N, D)."""
    embeddings: Tensor = model.encode_text(tokenize(texts), normalize=True)
    return embeddings


def evaluate(scenes: list[Scene], images: Tensor, describe: Callable[[list[str]], Tensor]) -> Evaluation:
    """Measure retrieval among scenes with embeddings `images` (N, D).

    `describe` embeds sentences, (M, D); it is given each distinct scene's canonical caption once.
    """
    distinct = list(dict.fromkeys(scenes))
    found = (describe([scene.caption for scene in distinct]) @ images.T).argmax(dim=1).tolist()
    hits = sum(scenes[first] == wanted for wanted, first in zip(distinct, found, strict=True))
    neighbours = (images @ images.T).fill_diagonal_(-torch.inf).argmax(dim=1).tolist()
    shared = sum(scene.shared_with(scenes[near]) for scene, near in zip(scenes, neighbours, strict=True))
    return Evaluation(text_recall=hits / len(distinct), shared_attributes=shared / len(scenes))
