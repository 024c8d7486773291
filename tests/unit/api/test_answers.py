"""Answers written past FastAPI are what the documentation says of them."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from api.answers import SearchAnswer
from api.facets import Facets
from api.paging import Seen
from api.schemas.search import FacetsOut, SearchOut
from api.similarity import Results
from common.db.models import EmbeddingModel
from common.db.reads import ShownImage
from common.vectors.base import Facet

MODEL = EmbeddingModel(
    id=3, name="ViT-B-32", pretrained="openai", dim=512, preprocess_version=1, state="active", collection="clip"
)
NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)

BARE: dict[str, Any] = dict.fromkeys(ShownImage._fields) | {
    "id": uuid4(),
    "status": "done",
    "attempt": 0,
    "filename": "shoe.jpg",
    "folder_id": uuid4(),
    "tags": [],
    "attributes": {},
    "labels": {},
    "visibility": "visible",
    "created_at": NOW,
    "updated_at": NOW,
}
FULL = BARE | {
    "media_type": "image/jpeg",
    "byte_size": 10,
    "width": 3,
    "height": 2,
    "sha256": "ab" * 32,
    "external_id": "ext",
    "title": 'Ox"fórd\u2028',
    "description": "a shoe",
    "category": "shoes",
    "tags": ["brown", "left"],
    "attributes": {"size": 43.5, "of": {"no": ["one", None, True, 2**70]}},
    "labels": {"tagging": {"a star": 0.5, "a moon": 0.9}},
    "visibility": "hidden",
    "visibility_by": "moderation",
    "indexed_at": NOW,
}
IN_ERROR = FULL | {"status": "error", "error_code": "image_truncated", "error_message": "half of it is missing"}
SEEN = Seen(count=2, score=0.25, id=uuid4(), model_id=3)


@pytest.mark.parametrize("rows", [[], [BARE], [FULL, IN_ERROR, BARE]], ids=["none", "bare", "several"])
@pytest.mark.parametrize("more", [False, True], ids=["last", "more"])
def test_an_answer_is_what_its_model_makes_of_it(rows: list[dict[str, Any]], *, more: bool) -> None:
    ranked = [(0.5 - number, ShownImage(**row)) for number, row in enumerate(rows)]
    results = Results(MODEL, ranked, SEEN if more else None, no_good_match=not rows, trial=more)
    facets = FacetsOut.of(Facets([Facet("shoes", 2)], [])) if more else None
    answer = SearchAnswer(results, facets)
    assert answer.headers["content-type"] == "application/json"
    body = json.loads(bytes(answer.body))
    assert body == json.loads(SearchOut.model_validate(body).model_dump_json())
    assert [result["image"]["id"] for result in body["results"]] == [str(row["id"]) for row in rows]
