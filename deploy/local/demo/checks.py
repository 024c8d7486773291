"""What must hold of the demo's results; a demo that only looks well would be no use."""

from collections.abc import Mapping
from uuid import UUID

from common.api_client import Hits, ImageState
from common.status import ImageStatus

TOP = 5
_MISSES_ALLOWED = 1


def check_settled(states: Mapping[UUID, ImageState], uploaded: int) -> list[str]:
    """Return what is wrong with the uploads: every one must be `done`."""
    done = sum(state.status is ImageStatus.DONE for state in states.values())
    if done == uploaded:
        return []
    reasons = {state.error.code for state in states.values() if state.error is not None}
    return [f"only {done} of {uploaded} pictures are done ({', '.join(sorted(reasons)) or 'the others are gone'})"]


def check_search(query: str, hits: Hits, *, existing: int, demo_model: bool) -> list[str]:
    """Return what is wrong with a search by text.

    Any model must find something. The demo model knows these pictures: nearly all of the first `TOP` results must show
    exactly what the query says, as far as there are so many (`existing`).
    """
    if not hits.results:
        return [f"nothing was found for {query!r}"]
    needed = min(TOP, existing) - _MISSES_ALLOWED
    right = sum(hit.image.title == query for hit in hits.results[:TOP])
    if demo_model and right < needed:
        return [f"only {right} of the first {TOP} results for {query!r} show it; {needed} should"]
    return []


def check_similar(image_id: UUID, hits: Hits) -> list[str]:
    """Return what is wrong with a search for similar images."""
    if not hits.results:
        return ["no similar images were found"]
    if any(hit.image.id == image_id for hit in hits.results):
        return ["an image is among its own similar images"]
    return []
