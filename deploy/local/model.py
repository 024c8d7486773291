"""Which model the embedder is started with. The choice is made once; from then on the images' model rules."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from common.db import embedding_models
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.settings import DatabaseSettings
from deploy.local.errors import WrongModel
from embedder.settings import EmbedderSettings, ModelChoice

_DEMO = "likeness-demo"
_HUB_PREFIX = "hf-hub:"


async def find_live_models(database_url: str) -> list[EmbeddingModel]:
    """Return the models that the images here are indexed with, the active one first; none on a new database."""
    database = Database(DatabaseSettings(url=SecretStr(database_url), pool_size=1))
    try:
        async with database.begin() as session:
            return await embedding_models.list_live(session)
    finally:
        await database.close()


def choose_model(configured: EmbedderSettings, live: Sequence[EmbeddingModel]) -> dict[str, str]:
    """Return the settings that choose the embedder's models, to be laid over those the user gave.

    On a new database the user's stand; who gave none gets the default model or, where its weights can't be had, the
    demo model. Afterwards the default is the active model, whichever of the user's models that is. The user's others,
    and the building ones, are served beside it; of the latter not the user's checkpoints that the user does not name.

    Raises:
        WrongModel: the user asks for other models than the images here are indexed with.
    """
    named = configured.model_fields_set & {"model", "pretrained"}
    if not live:
        return {} if named or "fallback" in configured.model_fields_set else {"EMBEDDER__FALLBACK": "demo"}
    indexed, *building = live
    matching = [choice for choice in configured.also if _matches(choice, indexed)]
    others = [choice for choice in configured.also if choice not in matching]
    try:
        weights = _default_weights(configured, indexed)
    except WrongModel:
        if not matching and not any(_matches(configured.choice, model) for model in building):
            raise
        weights = _weights(matching[0].pretrained or None if matching else None, indexed)
        others += [configured.choice] if named else []
    others += [_choice(model) for model in building if _needs_no_help(model, others)]
    return {
        "EMBEDDER__MODEL": indexed.name,
        "EMBEDDER__PRETRAINED": weights,
        "EMBEDDER__ALSO": ",".join(map(str, others)),
        "EMBEDDER__FALLBACK": "none",
    }


def _matches(choice: ModelChoice, indexed: EmbeddingModel) -> bool:
    try:
        return _canonical(choice.model) == indexed.name and bool(_weights(choice.pretrained or None, indexed))
    except WrongModel:
        return False


def _needs_no_help(building: EmbeddingModel, others: Sequence[ModelChoice]) -> bool:
    """Tell whether a building model is to be named besides the user's choices, and can be: its weights can be had."""
    own_checkpoint = "@" in building.pretrained and building.name != _DEMO
    return not own_checkpoint and not any(_matches(choice, building) for choice in others)


def _choice(model: EmbeddingModel) -> ModelChoice:
    return ModelChoice(model=model.name, pretrained=model.pretrained)


def _default_weights(configured: EmbedderSettings, indexed: EmbeddingModel) -> str:
    named = configured.model_fields_set & {"model", "pretrained"}
    if "model" in named and _canonical(configured.model) != indexed.name:
        raise _wrong_model(indexed)
    return _weights(configured.pretrained if "pretrained" in named else None, indexed)


def _weights(configured: str | None, indexed: EmbeddingModel) -> str:
    """Return the weights to load for the indexed model; they are compared in full once the embedder has them."""
    if indexed.name == _DEMO or indexed.name.startswith(_HUB_PREFIX):  # these two bring their weights
        fits = configured is None or (configured == "random") == (indexed.pretrained == "random")
    elif "@" in indexed.pretrained:  # a checkpoint of the user's, named after its file and its hash
        return _checkpoint(configured, indexed)
    else:
        fits = configured in {None, indexed.pretrained}
    if not fits:
        raise _wrong_model(indexed)
    return indexed.pretrained


def _checkpoint(configured: str | None, indexed: EmbeddingModel) -> str:
    file_name = indexed.pretrained.rpartition("@")[0]
    if configured is None:
        raise WrongModel(
            f"the images here are indexed with {embedding_models.label(indexed)}, a checkpoint of your own: say where "
            f"it is, e.g. EMBEDDER__PRETRAINED=/path/of/{file_name}.safetensors make run"
        )
    if Path(configured).stem != file_name:
        raise _wrong_model(indexed)
    return configured


def _canonical(model: str) -> str:
    if model.startswith(_HUB_PREFIX):
        return model
    return _DEMO if model == "demo" else model.replace("/", "-")


def _wrong_model(indexed: EmbeddingModel) -> WrongModel:
    return WrongModel(
        f"the images here are indexed with {embedding_models.label(indexed)}, but EMBEDDER__MODEL and "
        "EMBEDDER__PRETRAINED name another model, and vectors of two models never mix: unset them to go on with that "
        "model, name the other one in EMBEDDER__ALSO and change to it with `likeness reembed`, or start a new "
        "collection with another LIKENESS_HOME"
    )
