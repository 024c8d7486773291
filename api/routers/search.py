"""Searches: by an image of the collection, by a sentence, by a picture that is not kept."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from api.cursors import decode_seen, encode_seen
from api.dependencies import (
    DatabaseDep,
    FacetsDep,
    FilterDep,
    OwnerDep,
    SettingsDep,
    SimilarityDep,
    VectorsDep,
    WindowDep,
)
from api.examples import Example
from api.facets import Facets, count_facets
from api.paging import Window
from api.schemas.images import ImageOut
from api.schemas.problem import problems
from api.schemas.search import FacetsOut, SearchOut, SearchQuery, SearchResult
from api.similarity import Results
from api.uploads import receive_form
from common.embedding import MAX_TEXT_CHARS
from common.errors import ImageTooLarge, InvalidInput

router = APIRouter(tags=["search"])

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


@router.get("/images/{image_id}/similar", responses=problems(404, 409, 422, 503), summary="Similar images")
async def similar(
    image_id: UUID, similarity: SimilarityDep, wanted: FilterDep, window: WindowDep, facets: FacetsDep
) -> SearchOut:
    """Find what looks like an image of yours; the image itself is never among the results."""
    return _answer(await similarity.by_examples([Example(image_id)], wanted, window), facets)


@router.get("/search/text", responses=problems(422, 429, 503), summary="Search by text")
async def search_text(
    q: Annotated[str, Query(min_length=1, max_length=MAX_TEXT_CHARS, description="What the picture shows.")],
    similarity: SimilarityDep,
    wanted: FilterDep,
    window: WindowDep,
    facets: FacetsDep,
) -> SearchOut:
    """Find what a sentence describes."""
    return _answer(await similarity.by_examples([Example(q)], wanted, window), facets)


@router.post("/search", responses=problems(404, 409, 422, 429, 503), summary="Search by examples")
async def search(
    query: SearchQuery,
    owner: OwnerDep,
    settings: SettingsDep,
    similarity: SimilarityDep,
    database: DatabaseDep,
    vectors: VectorsDep,
) -> SearchOut:
    """Find what is like some examples and unlike others: sentences, images of yours, vectors of the model.

    The examples' vectors are added up by their weights, those of `negative` subtracted. "Like this one, but red" is an
    `image_id` and a positive `text`. Scores are cosine similarities to that sum; images that are examples are never
    among the results.
    """
    window = Window(query.limit, decode_seen(query.cursor), query.min_score, query.ranking.of(), query.good_only)
    wanted = query.filter.of(owner, settings.search.attributes)
    results = await similarity.by_examples(list(query.examples()), wanted, window)
    return _answer(results, await count_facets(database, vectors, wanted) if query.facets else None)


@router.post(
    "/search/image",
    responses=problems(413, 415, 422, 429, 503),
    openapi_extra=_PICTURE_BODY,
    summary="Search by picture",
)
async def search_image(
    request: Request,
    settings: SettingsDep,
    similarity: SimilarityDep,
    wanted: FilterDep,
    window: WindowDep,
    facets: FacetsDep,
) -> SearchOut:
    """Find what looks like a picture; it is not kept."""
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
    return _answer(await similarity.by_picture(data, file.sha256, wanted, window), facets)


@router.get("/search/facets", responses=problems(422, 503), summary="Facets")
async def search_facets(database: DatabaseDep, vectors: VectorsDep, wanted: FilterDep) -> FacetsOut:
    """Count your searchable images that pass a filter, by category and by tag."""
    return FacetsOut.of(await count_facets(database, vectors, wanted))


def _answer(results: Results, facets: Facets | None) -> SearchOut:
    return SearchOut(
        model=results.label,
        trial=results.trial,
        results=[SearchResult(score=score, image=ImageOut.of(image, results.model)) for score, image in results.ranked],
        no_good_match=results.no_good_match,
        next_cursor=encode_seen(results.seen) if results.seen else None,
        facets=FacetsOut.of(facets) if facets else None,
    )
