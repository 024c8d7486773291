"""Which models are live, and which is active, are rows: everything that writes or searches vectors asks here.

How they come and go is `common.db.model_lifecycle`'s.
"""

import hashlib
import re
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from common.db.model_lock import change_models
from common.db.models import EmbeddingModel
from common.embedding import ModelInfo
from common.errors import ConfigurationError, NotFound


def label(model: EmbeddingModel) -> str:
    """Return the name under which results mention the model; equals `ModelInfo.label`."""
    return f"{model.name}/{model.pretrained}"


async def find_active(session: AsyncSession) -> EmbeddingModel | None:
    """Return the active model, or None on a database that never had one."""
    return await session.scalar(select(EmbeddingModel).where(EmbeddingModel.state == "active"))


# `active` comes before `building`.
_LIVE = (
    select(EmbeddingModel).where(EmbeddingModel.state != "retired").order_by(EmbeddingModel.state, EmbeddingModel.id)
)


async def list_live(session: AsyncSession) -> list[EmbeddingModel]:
    """Return every model whose collection is kept up to date: the active one, then the building ones by age."""
    return list(await session.scalars(_LIVE))


async def list_all(session: AsyncSession) -> list[EmbeddingModel]:
    """Return every model there has been, the oldest first."""
    return list(await session.scalars(select(EmbeddingModel).order_by(EmbeddingModel.id)))


def find_trial(live: Sequence[EmbeddingModel]) -> EmbeddingModel | None:
    """Return which of the live models may answer a share of the searches: the youngest that is filled, and new.

    One that was active before has been tried.
    """
    fit = [model for model in live if model.state == "building" and model.filled_at and not model.promoted_at]
    return fit[-1] if fit else None


async def find_labelled(session: AsyncSession, wanted: str) -> list[int]:
    """Return the ids of the models of this label, one for each version of preprocessing; raise `NotFound` if none."""
    found = [model.id for model in await session.scalars(select(EmbeddingModel)) if label(model) == wanted]
    if not found:
        raise NotFound(f"there is no model {wanted!r}", code="model_not_found")
    return found


def is_served_as(model: EmbeddingModel, served: ModelInfo) -> bool:
    """Tell whether what the embedder serves is this model: their vectors can be compared."""
    ours = (model.name, model.pretrained, model.dim, model.preprocess_version)
    return ours == (served.name, served.pretrained, served.dim, served.preprocess_version)


async def settle_active(session: AsyncSession, served: ModelInfo) -> EmbeddingModel:
    """Return the active model, which on a new database becomes the one the embedder serves.

    Raises:
        ConfigurationError: the embedder serves another model than the active one; vectors of two models never mix.
    """
    active = await find_active(session)
    if active is None:
        await change_models(session)
        active = await find_active(session)
    if active is None:
        return await _activate(session, served)
    if not is_served_as(active, served):
        raise ConfigurationError(
            f"the embedder serves {served.label} (preprocess {served.preprocess_version}), but the images here are "
            f"indexed with {label(active)} (preprocess {active.preprocess_version}): configure the embedder for that "
            "model; to change to the other, serve both (EMBEDDER__ALSO) and run "
            f"`likeness reembed --model {served.label}`",
            code="wrong_model",
        )
    return active


async def _activate(session: AsyncSession, served: ModelInfo) -> EmbeddingModel:
    model = new_model(served, "active")
    model.filled_at = model.promoted_at = await session.scalar(select(func.now()))
    session.add(model)
    await session.flush()
    return model


def new_model(served: ModelInfo, state: str) -> EmbeddingModel:
    """Return the row of a model that there is none of yet."""
    return EmbeddingModel(
        name=served.name,
        pretrained=served.pretrained,
        dim=served.dim,
        preprocess_version=served.preprocess_version,
        state=state,
        collection=_collection_name(served),
    )


def _collection_name(served: ModelInfo) -> str:
    """Return a name that people recognise, and that no other model's name can be turned into."""
    readable = re.sub(r"[^a-z0-9]+", "-", served.label.lower())[:80].strip("-") or "model"
    digest = hashlib.sha256(served.label.encode()).hexdigest()[:8]
    return f"{readable}-{digest}-p{served.preprocess_version}"
