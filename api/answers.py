"""The answers of searches, written as JSON straight from the rows.

FastAPI would have each of twenty images checked against the answer's model first, which takes longer than finding them.
That they are what the model says is held by tests.
"""

from typing import Any

from fastapi import Response
from msgspec.json import Encoder
from pydantic import BaseModel

from api.cursors import encode_seen
from api.schemas.images import fields_of
from api.schemas.search import FacetsOut
from api.similarity import Results


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, BaseModel):
        return value.model_dump()
    raise NotImplementedError  # which has it named


# A third of the time of pydantic's writer.
_encode = Encoder(enc_hook=_fields).encode


class SearchAnswer(Response):
    """A `SearchOut`."""

    media_type = "application/json"

    def __init__(self, results: Results, facets: FacetsOut | None) -> None:
        """Write what was found, and the facets, if they were asked for."""
        model = results.label
        answer: dict[str, Any] = {
            "model": model,
            "trial": results.trial,
            "results": [{"score": score, "image": fields_of(image, model)} for score, image in results.ranked],
            "no_good_match": results.no_good_match,
            "next_cursor": encode_seen(results.seen) if results.seen else None,
            "facets": facets,
        }
        super().__init__(_encode(answer))
