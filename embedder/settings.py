"""Settings of the embedder service."""

from typing import Literal

from pydantic import BaseModel, Field

from common.embedding import MAX_IMAGES, MAX_TEXTS
from common.settings import ImagePolicy, LogSettings, ServiceSettings


class EmbedderSettings(BaseModel):
    """Which model, on what, and how requests become batches."""

    host: str = "127.0.0.1"
    port: int = Field(default=8100, ge=1, le=65_535)

    model: str = "ViT-B-32"
    """An open_clip architecture, an `hf-hub:` id, or `demo` for the bundled demo model."""
    pretrained: str = "laion2b_s34b_b79k"
    """A pretrained tag, a local checkpoint's path, or `random`: seeded random weights, for tests and benchmarks."""
    fallback: Literal["none", "demo"] = "none"
    """What to serve when the weights are not cached and the hub can't be reached."""
    hub_timeout_s: float = Field(default=10, gt=0)
    """How long to try before the hub counts as out of reach."""
    retry_s: float = Field(default=60, gt=0)
    """How long to wait before the hub is tried again."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """`auto`: fp16 on CUDA, fp32 on a CPU."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of one forward pass on a CPU; by default what torch chooses, one per physical core."""

    max_batch: int | None = Field(default=None, ge=1)
    """Most images, or texts, of one forward pass; by default 8 on a CPU, 64 on CUDA."""
    max_wait_ms: float = Field(default=3, ge=0)
    """How long the first image of a batch waits for company."""
    max_pending: int = Field(default=512, ge=max(MAX_IMAGES, MAX_TEXTS))
    """Images, and texts, waiting for the model above which requests are refused."""
    stall_s: float = Field(default=30, gt=0)
    """How long the model may go without an answer, while something waits, before the service is no longer ready."""

    bytes_in_flight: int = Field(default=256_000_000, ge=1)
    """Bytes of request bodies in memory above which more are refused; a longer one is taken when it is the only one."""
    decode_threads: int = Field(default=2, ge=1)
    """Images of `/encode` and `/encode/batch` decoded at the same time."""
    max_batch_bytes: int = Field(default=100_000_000, ge=1)
    """Longest body of `/encode/batch`."""


class Settings(ServiceSettings):
    """Everything the embedder service reads from its environment."""

    embedder: EmbedderSettings = EmbedderSettings()
    upload: ImagePolicy = ImagePolicy()
    log: LogSettings = LogSettings()
