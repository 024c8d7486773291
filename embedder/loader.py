"""The configured model, or the reason why there is none."""

import structlog

from common.errors import ConfigurationError, LikenessError
from embedder.device import choose_device, prepare
from embedder.model import ClipModel, HubUnreachable, ObserveStep
from embedder.openclip import OpenClipModel
from embedder.settings import EmbedderSettings
from embedder.weights import DEMO, find_weights

log = structlog.get_logger(__name__)

REMEDY = (
    "set EMBEDDER__MODEL=demo, or EMBEDDER__PRETRAINED to the path of a local checkpoint,"
    " or download the weights beforehand into the hub's cache (HF_HOME)"
)


def load_model(settings: EmbedderSettings, observe: ObserveStep) -> ClipModel:
    """Load the configured model; blocking, on the thread that will run it.

    Raises:
        HubUnreachable: the weights are not cached, the hub can't be reached, and no fallback is allowed.
        ConfigurationError: this model can't be served.
    """
    device = choose_device(settings)
    prepare(device, settings.threads)
    try:
        weights = find_weights(settings)
    except HubUnreachable as error:
        if settings.fallback != "demo":
            raise HubUnreachable(f"{settings.model} / {settings.pretrained}: {error}; {REMEDY}") from error
        log.warning("serving_demo_model", instead_of=settings.model, reason=str(error), remedy=REMEDY)
        weights = find_weights(settings.model_copy(update={"model": DEMO, "pretrained": ""}))
    try:
        return OpenClipModel(weights, device, observe=observe)
    except LikenessError:
        raise
    except Exception as error:  # torch, open_clip, safetensors and pickle each have their own ways to object
        raise ConfigurationError(f"can't load {weights.name} / {weights.identity}: {error}") from error
