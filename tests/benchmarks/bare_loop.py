"""The yardstick of ingest: a plain loop around open_clip, as its documentation has it. Prints seconds as JSON.

python -m tests.benchmarks.bare_loop FOLDER BATCH
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import open_clip
import torch
from PIL import Image

MODEL = "ViT-B-32"


def embed(
    model: open_clip.CLIP, preprocess: Callable[[Image.Image], torch.Tensor], paths: Sequence[Path]
) -> torch.Tensor:
    """Decode, preprocess and embed one batch."""
    images = torch.stack([preprocess(Image.open(path)) for path in paths])
    with torch.inference_mode():
        vectors: torch.Tensor = model.encode_image(images, normalize=True)
    return vectors


def main(folder: Path, batch: int) -> None:
    """Embed every file of a folder; loading the model and a first batch to warm up do not count."""
    model, _, preprocess = open_clip.create_model_and_transforms(MODEL, load_weights=False)
    model.eval()
    paths = sorted(folder.iterdir())
    embed(model, preprocess, paths[:batch])
    started = time.perf_counter()
    for start in range(0, len(paths), batch):
        embed(model, preprocess, paths[start : start + batch])
    print(json.dumps({"images": len(paths), "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
