"""Settings of the embedder service."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import NoDecode

from common.embedding import MAX_IMAGES, MAX_TEXTS
from common.settings import ImagePolicy, LogSettings, ServiceSettings

_HUB_PREFIX = "hf-hub:"


class ModelChoice(BaseModel):
    """A model as it is asked for: what `EMBEDDER__MODEL` and `EMBEDDER__PRETRAINED` say, or both in one word.

    The word is a label, `ViT-B-32/openai`, `likeness-demo/random` or `hf-hub:org/name`; the part after the architecture
    may be a checkpoint's path, and may be left out where the model brings its weights.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    pretrained: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        names = 2 if given.startswith(_HUB_PREFIX) else 1
        parts = given.split("/", names)
        return {"model": "/".join(parts[:names]), "pretrained": "".join(parts[names:])}

    def __str__(self) -> str:
        return f"{self.model}/{self.pretrained}" if self.pretrained else self.model


def _split(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


class EmbedderSettings(BaseModel):
    """Which model, on what, and how requests become batches."""

    host: str = "127.0.0.1"
    """The address that the service listens on; `0.0.0.0` for all."""
    port: int = Field(default=8100, ge=1, le=65_535)
    """The port that the service listens on."""

    model: str = "ViT-B-32"
    """An open_clip architecture, an `hf-hub:` id, or `demo` for the bundled demo model."""
    pretrained: str = "laion2b_s34b_b79k"
    """A pretrained tag, a local checkpoint's path, or `random`: seeded random weights, for tests and benchmarks."""
    also: Annotated[tuple[ModelChoice, ...], NoDecode, BeforeValidator(_split)] = ()
    """Further models, served beside the default one to whoever asks for them by label; separated by commas."""
    fallback: Literal["none", "demo"] = "none"
    """What to serve for the default model when its weights are not cached and the hub can't be reached."""
    hub_timeout_s: float = Field(default=10, gt=0)
    """How long to try before the hub counts as out of reach."""
    retry_s: float = Field(default=60, gt=0)
    """How long to wait before the hub is tried again."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What the models run on; `auto`: on CUDA, if there is a device."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """`auto`: fp16 on CUDA, fp32 on a CPU."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of one forward pass on a CPU; by default what torch chooses, one per physical core."""

    max_batch: int | None = Field(default=None, ge=1)
    """Most images, or texts, of one forward pass; by default 8 on a CPU, 64 on CUDA."""
    max_wait_ms: float = Field(default=3, ge=0)
    """How long the first image of a batch waits for company."""
    max_pending: int = Field(default=512, ge=max(MAX_IMAGES, MAX_TEXTS))
    """Images, and texts, waiting for a model above which requests are refused; interactive and bulk ones each."""
    stall_s: float = Field(default=30, gt=0)
    """How long the model may go without an answer, while something waits, before the service is no longer ready."""

    bytes_in_flight: int = Field(default=256_000_000, ge=1)
    """Bytes of request bodies in memory above which more are refused; a longer one is taken when it is the only one."""
    decode_threads: int = Field(default=2, ge=1)
    """Images of `/encode` and `/encode/batch` decoded at the same time."""
    max_batch_bytes: int = Field(default=100_000_000, ge=1)
    """Longest body of `/encode/batch`."""

    @property
    def choice(self) -> ModelChoice:
        """The default model."""
        return ModelChoice(model=self.model, pretrained=self.pretrained)

    def of(self, choice: ModelChoice) -> Self:
        """Return these settings for one of the further models; only the default one has a fallback."""
        return self.model_copy(update={**choice.model_dump(), "also": (), "fallback": "none"})


class Settings(ServiceSettings):
    """Everything the embedder service reads from its environment."""

    embedder: EmbedderSettings = EmbedderSettings()
    upload: ImagePolicy = ImagePolicy()
    log: LogSettings = LogSettings()
