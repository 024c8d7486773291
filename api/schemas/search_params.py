"""What searches are asked in their URLs, see `api.schemas.search` for the same in a body.

FastAPI would take 90 µs to read them, and PostgreSQL less than that to find the images. So they are read here, and
described for the documentation as FastAPI would; see `api.direct`.
"""

from datetime import timedelta
from typing import Any, ClassVar, Self, get_origin
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from api.attributes import parse_json_conditions
from api.cursors import MAX_LIMIT, decode_seen
from api.paging import Window
from api.ranking import Ranking
from api.schemas.search import Diversity, GoodOnly, HalfLifeDays, IncludeHidden, OnePerGroup, Recency, WithFacets
from api.schemas.text import Text
from common.attributes import Declared
from common.embedding import MAX_TEXT_CHARS
from common.vectors.base import Filter


class UrlParams(BaseModel):
    """Parameters in a URL: in its query, of several of one name the last counts, or, for a list, all."""

    in_path: ClassVar[frozenset[str]] = frozenset()
    """Names of those that are part of the route's path."""

    @classmethod
    def read(cls, request: Request) -> Self:
        """Return what a request's URL says, unknown names apart, or raise `RequestValidationError`."""
        given: dict[str, Any] = {}
        for name, value in parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True):
            if field := cls.model_fields.get(name):
                if get_origin(field.annotation) is list:
                    given.setdefault(name, []).append(value)
                else:
                    given[name] = value
        try:
            return cls.model_validate(given | request.path_params)
        except ValidationError as error:
            found = error.errors(include_url=False)
            raise RequestValidationError(
                [wrong | {"loc": (cls._place(wrong["loc"][0]), *wrong["loc"])} for wrong in found]
            ) from error

    @classmethod
    def documentation(cls) -> dict[str, Any]:
        """Return what an OpenAPI operation says of them."""
        schema = cls.model_json_schema()
        required = schema.get("required", ())
        parameters = [
            {"name": name, "in": cls._place(name), "required": name in required, "schema": described}
            | {key: described[key] for key in ("description",) if key in described}
            for name, described in schema["properties"].items()
        ]
        return {"parameters": sorted(parameters, key=lambda parameter: parameter["in"] != "path")}

    @classmethod
    def _place(cls, name: int | str) -> str:
        return "path" if name in cls.in_path else "query"


class FilterParams(UrlParams):
    """Which images count; everything given must hold."""

    folder_id: UUID | None = Field(default=None, description="Only this folder.")
    category: Text | None = Field(default=None, description="Only this category.")
    tag: list[Text] = Field(default=[], description="Only images with this tag; repeat it for all of several.")
    any_tag: list[Text] = Field(
        default=[], description="Only images with this tag; repeat it for at least one of several."
    )
    label: list[Text] = Field(
        default=[], description="Only images in which this was seen; repeat it for all of several."
    )
    include_hidden: IncludeHidden = False
    created_from: AwareDatetime | None = Field(default=None, description="Only images created then or later.")
    created_before: AwareDatetime | None = Field(default=None, description="Only images created before that.")
    attributes: Text | None = Field(
        default=None, description='Conditions on declared attributes, as JSON: `{"price": {"lte": 100}}`.'
    )

    def filter_of(self, owner_id: UUID, declared: Declared) -> Filter:
        """Return the filter among one owner's images, or raise `InvalidInput` for attributes that are not declared."""
        return Filter(
            owner_id=owner_id,
            folder_id=self.folder_id,
            category=self.category,
            tags=tuple(self.tag),
            any_tags=tuple(self.any_tag),
            created_from=self.created_from,
            created_before=self.created_before,
            attributes=parse_json_conditions(self.attributes, declared),
            labels=tuple(self.label),
            include_hidden=self.include_hidden,
        )


class SearchParams(FilterParams):
    """Which results are wanted, and in which order."""

    limit: int = Field(default=20, ge=1, le=MAX_LIMIT, description="Most items of one page.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")
    min_score: float | None = Field(default=None, ge=-1, le=1, description="Leave out what is less similar.")
    good_only: GoodOnly = False
    diversity: Diversity = 0.0
    recency: Recency = 0.0
    half_life_days: HalfLifeDays = 30.0
    one_per_group: OnePerGroup = False
    facets: WithFacets = False

    def window(self) -> Window:
        """Return the part of the ranking, or raise `InvalidCursor`."""
        half_life = timedelta(days=self.half_life_days)
        ranking = Ranking(self.diversity, self.recency, half_life, self.one_per_group)
        return Window(self.limit, decode_seen(self.cursor), self.min_score, ranking, self.good_only)


class SimilarParams(SearchParams):
    """A search by an image of the collection."""

    in_path = frozenset({"image_id"})

    image_id: UUID


class TextSearchParams(SearchParams):
    """A search by text."""

    q: str = Field(min_length=1, max_length=MAX_TEXT_CHARS, description="What the picture shows.")
