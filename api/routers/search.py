"""Searches: by an image of the collection, by a sentence, by a picture that is not kept."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request

from api.answers import SearchAnswer
from api.dependencies import (
    SESSION_PARAMETER,
    DatabaseDep,
    OwnerDep,
    SearchesDep,
    SettingsDep,
    VectorsDep,
    searches_of,
)
from api.direct import DirectRoute
from api.examples import Example
from api.facets import count_facets
from api.schemas.problem import problems
from api.schemas.search import FacetsOut, SearchOut, SearchQuery
from api.schemas.search_params import FilterParams, SearchParams, SimilarParams, TextSearchParams, UrlParams
from api.uploads import receive_form
from common.errors import ImageTooLarge, InvalidInput

router = APIRouter(tags=["search"])
direct = APIRouter(tags=["search"], route_class=DirectRoute)

_PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


def _asked_with(params: type[UrlParams]) -> dict[str, Any]:
    documented = params.documentation()
    return {"parameters": [*documented["parameters"], SESSION_PARAMETER]}


@direct.get(
    "/images/{image_id}/similar",
    response_model=SearchOut,
    responses=problems(404, 409, 422, 503),
    openapi_extra=_asked_with(SimilarParams),
    summary="Similar images",
)
async def similar(request: Request) -> SearchAnswer:
    """Find what looks like an image of yours; the image itself is never among the results."""
    params = SimilarParams.read(request)
    return await _by_example(params.image_id, params, request)


@direct.get(
    "/search/text",
    response_model=SearchOut,
    responses=problems(422, 429, 503),
    openapi_extra=_asked_with(TextSearchParams),
    summary="Search by text",
)
async def search_text(request: Request) -> SearchAnswer:
    """Find what a sentence describes."""
    params = TextSearchParams.read(request)
    return await _by_example(params.q, params, request)


async def _by_example(of: UUID | str, params: SearchParams, request: Request) -> SearchAnswer:
    searches = await searches_of(request)
    wanted, window = searches.filter_of(params), params.window()
    return await searches.by_examples([Example(of)], wanted, window, facets=params.facets)


@router.post(
    "/search", response_model=SearchOut, responses=problems(404, 409, 422, 429, 503), summary="Search by examples"
)
async def search(query: SearchQuery, searches: SearchesDep) -> SearchAnswer:
    """Find what is like some examples and unlike others: sentences, images of yours, vectors of the model.

    The examples' vectors are added up by their weights, those of `negative` subtracted. "Like this one, but red" is an
    `image_id` and a positive `text`. Scores are cosine similarities to that sum; images that are examples are never
    among the results.
    """
    wanted, window = searches.filter_of(query.filter), query.window()
    return await searches.by_examples(list(query.examples()), wanted, window, facets=query.facets)


@router.post(
    "/search/image",
    response_model=SearchOut,
    responses=problems(413, 415, 422, 429, 503),
    openapi_extra=_PICTURE_BODY | SearchParams.documentation(),
    summary="Search by picture",
)
async def search_image(request: Request, settings: SettingsDep, searches: SearchesDep) -> SearchAnswer:
    """Find what looks like a picture; it is not kept."""
    params = SearchParams.read(request)
    wanted, window = searches.filter_of(params), params.window()
    limits = settings.upload
    # Room for the picture and its multipart frame, no more.
    limits = limits.model_copy(update={"max_files": 1, "max_request_bytes": limits.max_file_bytes + 64 * 1024})
    async with receive_form(request, limits) as form:
        if len(form.files) != 1 or form.fields:
            raise InvalidInput("send one picture as `file`, and nothing else", code="one_file_expected")
        (file,) = form.files
        if file.too_large:
            raise ImageTooLarge(f"a file may have {limits.max_file_bytes} bytes", code="file_too_large")
        file.content.seek(0)
        data = file.content.read()
    return await searches.by_picture(data, file.sha256, wanted, window, facets=params.facets)


@router.get(
    "/search/facets", responses=problems(422, 503), openapi_extra=FilterParams.documentation(), summary="Facets"
)
async def search_facets(
    request: Request, owner: OwnerDep, settings: SettingsDep, database: DatabaseDep, vectors: VectorsDep
) -> FacetsOut:
    """Count your searchable images that pass a filter, by category and by tag."""
    params = FilterParams.read(request)
    wanted = params.filter_of(owner, settings.search.attributes)
    return FacetsOut.of(await count_facets(database, vectors, wanted))
