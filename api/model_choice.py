"""Which model answers a search: the active one, or for a share of them one on trial; and for a later page, the same."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from common.db.embedding_models import find_trial
from common.db.models import EmbeddingModel
from common.errors import InvalidCursor


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that is to answer; `trial`: it is not the active one yet."""

    model: EmbeddingModel
    trial: bool = False


def choose(
    live: Sequence[EmbeddingModel], owner_id: UUID, query: Callable[[], bytes], *, share: float, going_on: int | None
) -> list[Choice]:
    """Return the models to ask, the next one if one fails: the last is not on trial.

    The same query of the same owner is always in the same share.

    Args:
        live: all live models, the active one first; at least that.
        owner_id: who asks.
        query: says what is asked, however that is put in bytes; called if there is a model on trial.
        share: of the searches that a model on trial answers, if there is one, 0 to 1.
        going_on: id of the model that answered the page before; None: this is the first.

    Raises:
        InvalidCursor: `stale_cursor`, that model is retired.
    """
    active, trial = live[0], find_trial(live)
    if going_on is not None:
        model = next((model for model in live if model.id == going_on), None)
        if model is None:
            raise stale_cursor()
        return [Choice(model, trial=model is trial)]
    if trial is not None and _fraction(owner_id.bytes + query()) < share:
        return [Choice(trial, trial=True), Choice(active)]
    return [Choice(active)]


def stale_cursor() -> InvalidCursor:
    """Return what a page is refused with whose model is not served any more: another one's would not go on there."""
    return InvalidCursor("the model that ranked these results is gone: search again", code="stale_cursor")


def _fraction(key: bytes) -> float:
    """Return a number in [0, 1) that looks random, and is always the same for a key."""
    return int.from_bytes(hashlib.sha256(key).digest()[:6]) / 2**48
