"""Any open_clip model as a `ClipModel`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from common.embedding import ModelInfo, PreprocessInfo
from common.errors import ConfigurationError, EmbedderUnavailable
from common.imaging import PREPROCESS_VERSION
from embedder.device import Device
from embedder.lean import open_clip
from embedder.model import Kind, ObserveStep, Pixels, Step, Vectors, ignore_steps, normalised
from embedder.tokens import create_counter
from embedder.weights import Weights

_RANDOM_SEED = 0


class OpenClipModel:
    """A model on one device. Build it, and use it, on one thread: each thread that runs torch keeps its own helpers."""

    def __init__(self, weights: Weights, device: Device, *, observe: ObserveStep = ignore_steps) -> None:
        """Load the weights onto the device; raises whatever open_clip or torch have to say against it."""
        self._device = device
        self._observe = observe
        self._model = _create(weights, device)
        self._tokenize = open_clip.get_tokenizer(weights.tokenizer)
        self._count_tokens = create_counter(self._tokenize)
        config = self._model.visual.preprocess_cfg
        size = _side(config["size"])
        self._dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[device.precision]
        # (x / 255 - mean) / std as one multiplication and one addition
        mean, std = (torch.tensor(config[key], device=device.torch).view(1, 3, 1, 1) for key in ("mean", "std"))
        self._scale, self._shift = 1 / (255 * std), -mean / std
        self._info = ModelInfo(
            name=weights.name,
            pretrained=weights.identity,
            dim=self._forward_pixels(np.zeros((1, size, size, 3), np.uint8)).shape[1],
            image_size=size,
            preprocess=PreprocessInfo(
                size=size,
                resize_mode=config["resize_mode"],
                interpolation=config["interpolation"],
                fill_color=config["fill_color"],
            ),
            preprocess_version=PREPROCESS_VERSION,
            context_length=self._tokenize.context_length,
            device=device.kind,
            precision=device.precision,
            demo=weights.demo,
        )

    @property
    def info(self) -> ModelInfo:
        """Which model this is."""
        return self._info

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """Embed (N, S, S, 3) uint8; splits the batch as often as the GPU's memory demands."""
        features = self._splitting(self._forward_pixels, pixels)
        with self._timed("image", "postprocess"):
            return normalised(features)

    def encode_texts(self, texts: list[str]) -> Vectors:
        """Embed texts; what is beyond the context length is cut off."""
        with self._timed("text", "preprocess"):
            tokens = self._tokenize(texts).numpy()
        features = self._splitting(self._forward_tokens, tokens)
        with self._timed("text", "postprocess"):
            return normalised(features)

    def count_tokens(self, texts: list[str]) -> list[int]:
        """Count the tokens of each text before any are cut off."""
        return self._count_tokens(texts)

    @torch.inference_mode()
    def _forward_pixels(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with self._timed("image", "preprocess"):
            batch = _tensor(pixels).to(self._device.torch).permute(0, 3, 1, 2).float()
            batch = (batch * self._scale).add_(self._shift).to(self._dtype).contiguous()
        with self._timed("image", "forward"):
            return self._to_numpy(self._model.encode_image(batch))

    @torch.inference_mode()
    def _forward_tokens(self, tokens: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with self._timed("text", "forward"):
            return self._to_numpy(self._model.encode_text(_tensor(tokens).to(self._device.torch)))

    @staticmethod
    def _to_numpy(features: torch.Tensor) -> np.ndarray[Any, Any]:
        return features.float().cpu().numpy()  # waits for the GPU, so the time taken around it is true

    def _splitting(
        self, forward: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], batch: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """Run a batch; when the GPU has no memory for it, run it in halves."""
        try:
            return forward(batch)
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise EmbedderUnavailable(
                    "the GPU has no memory left for a single item", code="out_of_memory"
                ) from error
        # Outside the handler: the exception's traceback holds the failed pass's tensors.
        torch.cuda.empty_cache()
        half = len(batch) // 2
        return np.concatenate([self._splitting(forward, batch[:half]), self._splitting(forward, batch[half:])])

    @contextmanager
    def _timed(self, kind: Kind, step: Step) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._observe(kind, step, time.perf_counter() - start)


def _create(weights: Weights, device: Device) -> Any:  # open_clip has several classes, none of them typed
    with torch.random.fork_rng():
        torch.manual_seed(_RANDOM_SEED)
        model = open_clip.create_model(
            weights.source,
            str(weights.checkpoint) if weights.checkpoint else None,
            precision=device.precision,
            device=device.torch,
            force_quick_gelu=weights.quick_gelu,
            force_preprocess_cfg=dict(weights.preprocess),
            pretrained_text=False,
            require_pretrained=not weights.random,
        )
    return model.eval()


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(np.require(array, requirements="W"))  # torch knows no read-only tensors


def _side(size: int | tuple[int, int]) -> int:
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise ConfigurationError(f"the model takes {height} by {width} pixels; only square models are served")
    return height
