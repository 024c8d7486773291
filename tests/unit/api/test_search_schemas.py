"""What searches may ask for."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.schemas.search import MAX_EXAMPLES, FilterIn, SearchQuery
from api.schemas.search_params import FilterParams, SearchParams, SimilarParams, TextSearchParams, UrlParams

ID = "0b8f6c9e-6f0b-4d5a-8f0e-2f5f3a1c9d77"


def asking(query: str, **path: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "path_params": path})


def test_short_forms_are_positive_examples_of_weight_one() -> None:
    query = SearchQuery.model_validate(
        {"text": "a", "image_id": ID, "positive": [{"text": "b", "weight": 2}], "negative": [{"text": "c"}]}
    )
    examples = [(example.of, example.weight) for example in query.examples()]
    assert examples == [("a", 1), (UUID(ID), 1), ("b", 2), ("c", -1)]


def test_a_vector_is_an_example() -> None:
    (example,) = SearchQuery.model_validate({"vector": [3, 4.5]}).examples()
    assert isinstance(example.of, np.ndarray)
    assert example.of.dtype == np.float32
    assert example.of.tolist() == [3, 4.5]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"negative": [{"text": "a"}]},
        {"text": ""},
        {"text": "a" * 2001},
        {"text": "\0"},
        {"image_id": "x"},
        {"vector": []},
        {"vector": [1e10]},
        {"vector": ["nan"]},
        {"positive": [{}]},
        {"positive": [{"text": "a", "image_id": ID}]},
        {"positive": [{"text": "a", "weight": 0}]},
        {"positive": [{"text": "a", "weight": -1}]},
        {"positive": [{"text": "a", "weight": 101}]},
        {"positive": [{"text": "a"}] * (MAX_EXAMPLES + 1)},
        {"text": "a", "limit": 0},
        {"text": "a", "limit": 201},
        {"text": "a", "min_score": 2},
        {"text": "a", "filter": {"colour": "red"}},
        {"text": "a", "filter": {"tags": ["a"] * 51}},
        {"text": "a", "filter": {"created_from": "2026-01-01T00:00:00"}},
        {"text": "a", "unknown": 1},
    ],
    ids=lambda query: str(query)[:60],
)
def test_what_is_no_search(query: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SearchQuery.model_validate(query)


def test_a_filter_is_always_somebodys() -> None:
    owner = uuid4()
    given = {"folder_id": ID, "tags": ["a"], "any_tags": ["b"], "created_from": "2026-01-01T00:00:00+02:00"}
    wanted = FilterIn.model_validate(given).filter_of(owner, {})
    assert (wanted.owner_id, wanted.folder_id, wanted.tags, wanted.any_tags) == (owner, UUID(ID), ("a",), ("b",))
    assert wanted.created_from is not None
    assert wanted.created_from.isoformat() == "2026-01-01T00:00:00+02:00"


def test_a_url_is_read_as_fastapi_would() -> None:
    asked = "limit=5&limit=7&tag=a&tag=b&include_hidden=true&created_from=2026-01-01T00:00:00Z&unknown=1&cursor="
    params = SearchParams.read(asking(asked))
    assert params.model_fields_set == {"limit", "tag", "include_hidden", "created_from", "cursor"}
    assert (params.limit, params.tag, params.include_hidden, params.cursor) == (7, ["a", "b"], True, "")
    assert params.created_from == datetime(2026, 1, 1, tzinfo=UTC)
    assert SearchParams.read(asking("")) == SearchParams()


def test_what_is_in_the_path_is_not_read_from_the_query() -> None:
    params = SimilarParams.read(asking(f"image_id={uuid4()}&limit=5", image_id=ID))
    assert (params.image_id, params.limit) == (UUID(ID), 5)


def test_what_is_wrong_with_a_url_is_said_of_the_parameter() -> None:
    with pytest.raises(RequestValidationError) as refused:
        TextSearchParams.read(asking("limit=0&tag=a&tag=%00"))
    found = {tuple(error["loc"]): error["type"] for error in refused.value.errors()}
    assert found == {
        ("query", "limit"): "greater_than_equal",
        ("query", "tag", 1): "value_error",
        ("query", "q"): "missing",
    }


def test_what_is_wrong_with_path_and_query_is_said_at_once() -> None:
    with pytest.raises(RequestValidationError) as refused:
        SimilarParams.read(asking("limit=0", image_id="nonsense"))
    found = {tuple(error["loc"]): error["type"] for error in refused.value.errors()}
    assert found == {("query", "limit"): "greater_than_equal", ("path", "image_id"): "uuid_parsing"}


@pytest.mark.parametrize("model", [FilterParams, SearchParams, TextSearchParams])
def test_parameters_are_documented_as_fastapi_would(model: type[UrlParams]) -> None:
    app = FastAPI()

    async def route(params: Annotated[Any, Query()]) -> None: ...

    route.__annotations__["params"] = Annotated[model, Query()]
    app.get("/fastapi")(route)

    @app.get("/ours", openapi_extra=model.documentation())
    async def ours() -> None: ...

    paths = app.openapi()["paths"]
    assert paths["/ours"]["get"]["parameters"] == paths["/fastapi"]["get"]["parameters"]


def test_a_parameter_in_the_path_is_documented_as_fastapi_would() -> None:
    app = FastAPI()

    @app.get("/fastapi/{image_id}")
    async def route(image_id: UUID) -> None: ...

    (expected,) = app.openapi()["paths"]["/fastapi/{image_id}"]["get"]["parameters"]
    assert SimilarParams.documentation()["parameters"][0] == expected
