"""The demo model's files, read the way open_clip reads any model."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from safetensors.torch import save as serialised
from torch import Tensor

from embedder.lean import open_clip

NAME: Final = "likeness-demo"
FOLDER: Final = Path(__file__).parents[1] / "models"
CONFIG: Final = FOLDER / f"{NAME}.json"
WEIGHTS: Final = FOLDER / f"{NAME}.safetensors"

Preprocess = Callable[[Image.Image], Tensor]


def create() -> tuple[open_clip.CLIP, Preprocess]:
    """Return the untrained model, its weights drawn from torch's random state, and its preprocessing."""
    open_clip.add_model_config(CONFIG)
    model, _, preprocess = open_clip.create_model_and_transforms(NAME)
    return model, preprocess


def load(weights: Path = WEIGHTS) -> tuple[open_clip.CLIP, Preprocess]:
    """Return the trained model in float32, ready for inference, and its preprocessing."""
    open_clip.add_model_config(CONFIG)
    model, preprocess = open_clip.create_model_from_pretrained(NAME, pretrained=str(weights))
    return model.eval(), preprocess


def save(model: torch.nn.Module, path: Path) -> None:
    """Write the weights in half precision; readers see the old file or the new one, never a part."""
    state = {
        key: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for key, tensor in model.state_dict().items()
    }
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(serialised(state, metadata={"format": "pt"}))
    partial.replace(path)
