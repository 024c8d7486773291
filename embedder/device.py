"""Where a model runs, and with which numbers."""

from dataclasses import dataclass

import torch

from common.errors import ConfigurationError
from embedder.settings import EmbedderSettings


@dataclass(frozen=True)
class Device:
    """A device and the precision of the forward pass on it."""

    kind: str
    precision: str

    @property
    def cuda(self) -> bool:
        """Whether this is a GPU."""
        return self.kind == "cuda"

    @property
    def torch(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.kind)


def choose_device(settings: EmbedderSettings) -> Device:
    """Choose device and precision.

    Raises:
        ConfigurationError: CUDA is asked for and there is none, or the precision does not suit the device.
    """
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise ConfigurationError("EMBEDDER__DEVICE=cuda, but torch sees no CUDA device")
    kind = "cuda" if available and settings.device != "cpu" else "cpu"
    precision = settings.precision
    if precision == "auto":
        precision = "fp16" if kind == "cuda" else "fp32"
    if precision == "fp16" and kind == "cpu":
        raise ConfigurationError("EMBEDDER__PRECISION=fp16 needs a GPU; use fp32 on a CPU")
    return Device(kind, precision)


def prepare(device: Device, threads: int | None) -> None:
    """Set up torch, for the calling thread and the process."""
    if threads is not None and not device.cuda:
        torch.set_num_threads(threads)
