"""The demo model on its way: takes steps, says how good it is."""

from typing import Final

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from embedder.demo import weights
from embedder.demo.batches import Batch
from embedder.demo.evaluate import Evaluation, draw_scenes, embed_images, embed_texts, evaluate
from embedder.demo.objective import objective
from embedder.lean import open_clip

_LEARNING_RATE: Final = 2e-3
_WEIGHT_DECAY: Final = 0.02
_WARM_UP: Final = 0.08  # share of the steps over which the learning rate rises
_GRADIENT_NORM: Final = 1.0
_MAX_LOGIT_SCALE: Final = 4.6052  # ln 100, CLIP's own bound
_EVALUATION_SIZE: Final = 128  # pixels; pictures reach the model scaled down


class Trainer:
    """A model with its optimiser; `steps` is how many there will be in all."""

    def __init__(self, steps: int, seed: int) -> None:
        torch.manual_seed(seed)
        model, self._preprocess = weights.create()
        self.model = model.to(memory_format=torch.channels_last)  # a third faster on CPUs
        self._tokenize = open_clip.get_tokenizer(weights.NAME)
        self._mean, self._std = (_as_levels(model.visual.preprocess_cfg[key]) for key in ("mean", "std"))
        self._optimizer = AdamW(self.model.parameters(), weight_decay=_WEIGHT_DECAY)
        self._schedule = OneCycleLR(self._optimizer, _LEARNING_RATE, total_steps=steps, pct_start=_WARM_UP)

    def step(self, batch: Batch) -> float:
        """Learn from one batch and return its loss."""
        self.model.train()
        pixels = ((batch.pixels - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        images, texts, scale = self.model(pixels, self._tokenize(batch.texts))
        loss = objective(images, texts, scale, batch.attributes, batch.named)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _GRADIENT_NORM)
        self._optimizer.step()
        self._schedule.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=_MAX_LOGIT_SCALE)
        return loss.item()

    def evaluate(self, seeds: range) -> Evaluation:
        """Measure retrieval among one fresh picture for each seed."""
        self.model.eval()
        scenes, pictures = draw_scenes(seeds, _EVALUATION_SIZE)
        images = embed_images(self.model, self._preprocess, pictures)
        return evaluate(scenes, images, lambda texts: embed_texts(self.model, self._tokenize, texts))


def _as_levels(channels: tuple[float, float, float]) -> Tensor:
    """Return a mean or deviation of pixels in 0 to 1 as one of levels in 0 to 255, (1, 3, 1, 1)."""
    return torch.tensor(channels).view(1, 3, 1, 1) * 255
