"""How models come and go: building → active ⇄ building → retired. Each change is one transaction under `change_models`.

(new) ──register──▶ building ──promote──▶ active
                     │    ▲                 │
                     │    └─────────────────┘  when another one is promoted; `roll_back` promotes it again
                     └──retire──▶ retired ──register──▶ building, with a new collection
"""

from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import embedding_models, indexings
from common.db.embedding_models import label, new_model
from common.db.model_lock import change_models, hold_models
from common.db.models import EmbeddingModel, Indexing
from common.embedding import ModelInfo
from common.errors import Conflict, InfrastructureError, NotFound


@dataclass(frozen=True, slots=True)
class Switch:
    """Which model is active now, and which was before."""

    active: EmbeddingModel
    former: EmbeddingModel


async def find_live(session: AsyncSession, wanted: str) -> EmbeddingModel | None:
    """Return the live model of this label; of several versions of preprocessing the latest."""
    live = [model for model in await embedding_models.list_live(session) if label(model) == wanted]
    return max(live, key=lambda model: model.preprocess_version, default=None)


async def register(session: AsyncSession, served: ModelInfo) -> EmbeddingModel:
    """Return the live model that the embedder serves so; it is building from now on if there was none.

    Raises:
        InfrastructureError: `model_retiring`, it was retired a moment ago.
    """
    await change_models(session)
    model = await session.scalar(
        select(EmbeddingModel).where(
            EmbeddingModel.name == served.name,
            EmbeddingModel.pretrained == served.pretrained,
            EmbeddingModel.preprocess_version == served.preprocess_version,
        )
    )
    if model is None:
        model = new_model(served, "building")
        session.add(model)
    elif model.state == "retired":
        if await session.scalar(select(Indexing.image_id).where(Indexing.model_id == model.id).limit(1)):
            raise InfrastructureError(f"what {label(model)} left is still being removed", code="model_retiring")
        # Somebody may still be writing to, or dropping, the collection that it had.
        model.state, model.collection, model.dim = "building", _next_name(model.collection), served.dim
        model.filled_at = model.promoted_at = None
    await session.flush()
    return model


async def promote(session: AsyncSession, wanted: str) -> Switch:
    """Make a building model the active one; the one that is active goes on as a building one.

    Raises:
        NotFound: there is no live model of this label.
        Conflict: `model_active`, it is active already; `model_incomplete`, it lacks images that are `done`.
    """
    await change_models(session)
    model = await find_live(session, wanted)
    if model is None:
        raise _not_live(wanted)
    return await _switch(session, model)


async def roll_back(session: AsyncSession) -> Switch:
    """Make the model active again that was so before the last switch; so rolling back twice changes nothing.

    Raises:
        NotFound: no live model was active before.
        Conflict: `model_incomplete`, as `promote`.
    """
    await change_models(session)
    query = select(EmbeddingModel).where(EmbeddingModel.state == "building", EmbeddingModel.promoted_at.is_not(None))
    model = await session.scalar(query.order_by(EmbeddingModel.promoted_at.desc()).limit(1))
    if model is None:
        raise NotFound("no model that is still kept up to date was active before", code="nothing_to_roll_back_to")
    return await _switch(session, model)


async def retire(session: AsyncSession, wanted: str) -> EmbeddingModel:
    """Give a building model up: from now on nobody writes to its collection, or searches it.

    Raises:
        NotFound: there is no live model of this label.
        Conflict: `model_active`.
    """
    await change_models(session)
    model = await find_live(session, wanted)
    if model is None:
        raise _not_live(wanted)
    if model.state == "active":
        raise Conflict(f"{wanted} is the active model: promote another one first", code="model_active")
    model.state = "retired"
    await session.flush()
    return model


async def mark_filled(session: AsyncSession, model_id: int) -> bool:
    """Note that no `done` image lacks its point, if that is so."""
    await hold_models(session)
    if await indexings.count_missing(session, model_id):
        return False
    await session.execute(update(EmbeddingModel).where(EmbeddingModel.id == model_id).values(filled_at=func.now()))
    return True


async def _switch(session: AsyncSession, model: EmbeddingModel) -> Switch:
    if model.state == "active":
        raise Conflict(f"{label(model)} is the active model already", code="model_active")
    missing = await indexings.count_missing(session, model.id)
    if missing:
        images = "1 image that is done has" if missing == 1 else f"{missing:,} images that are done have"
        raise Conflict(
            f"{images} no vector of {label(model)} yet: run `likeness reembed --model {label(model)}`",
            code="model_incomplete",
        )
    former = await embedding_models.find_active(session)
    if former is None:
        raise NotFound("no model is active yet", code="nothing_indexed")
    former.state = "building"
    await session.flush()  # there are never two
    model.state = "active"
    model.promoted_at = await session.scalar(select(func.now()))
    await session.flush()
    return Switch(model, former)


def _not_live(wanted: str) -> NotFound:
    return NotFound(f"there is no model {wanted!r} that images are indexed with", code="model_not_found")


def _next_name(collection: str) -> str:
    """Return a name that the model has not had: `…-p1`, `…-p1-2`, `…-p1-3`."""
    base, _, generation = collection.rpartition("-")
    return f"{base}-{int(generation) + 1}" if generation.isdecimal() else f"{collection}-2"
