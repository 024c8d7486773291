"""What searches answer."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Self
from uuid import UUID

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.attributes import parse_conditions
from api.cursors import MAX_LIMIT, decode_seen
from api.examples import Example
from api.facets import Facets
from api.paging import Window
from api.ranking import Ranking
from api.schemas.images import ImageOut
from api.schemas.text import STORABLE, JsonObject, Text
from common.attributes import Declared
from common.embedding import MAX_TEXT_CHARS
from common.vectors.base import MAX_FACETS, Facet, Filter

MAX_EXAMPLES = 32
MAX_WEIGHT = 100.0
_MAX_DIM = 4096
_MAX_NUMBER = 1e9
_MAX_TAGS = 50
_MAX_ATTRIBUTES = 50

Diversity = Annotated[
    float, Field(ge=0, le=1, description="How much it counts against an image that it looks like those before it.")
]
Recency = Annotated[float, Field(ge=0, le=1, description="How much it counts for an image that it is new.")]
HalfLifeDays = Annotated[float, Field(gt=0, le=36_500, description="The age at which an image counts half as new.")]
OnePerGroup = Annotated[bool, Field(description="Show only the first of images that are duplicates of each other.")]
GoodOnly = Annotated[
    bool, Field(description="Leave out what is no good match; for texts alone and images alone, once calibrated.")
]
IncludeHidden = Annotated[bool, Field(description="Also show images that moderation, or you, have hidden.")]
WithFacets = Annotated[bool, Field(description="Count what passes the filter, see `facets`.")]

Sentence = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARS), STORABLE]
Numbers = Annotated[
    list[Annotated[float, Field(ge=-_MAX_NUMBER, le=_MAX_NUMBER)]], Field(min_length=1, max_length=_MAX_DIM)
]


class ExampleIn(BaseModel):
    """What results are to be like, or unlike: one of a sentence, an image of yours, a vector of the model."""

    model_config = ConfigDict(extra="forbid")

    text: Sentence | None = None
    image_id: UUID | None = None
    vector: Numbers | None = None
    weight: float = Field(default=1.0, gt=0, le=MAX_WEIGHT)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.text, self.image_id, self.vector)) != 1:
            raise ValueError("an example is one of `text`, `image_id` and `vector`")
        return self


class FilterIn(BaseModel):
    """Which images count; everything given must hold."""

    model_config = ConfigDict(extra="forbid")

    folder_id: UUID | None = None
    category: Text | None = None
    tags: list[Text] = Field(default_factory=list, max_length=_MAX_TAGS, description="All of these.")
    any_tags: list[Text] = Field(default_factory=list, max_length=_MAX_TAGS, description="At least one of these.")
    labels: list[Text] = Field(default_factory=list, max_length=_MAX_TAGS, description="All of these were seen in it.")
    include_hidden: IncludeHidden = False
    created_from: AwareDatetime | None = Field(default=None, description="Not before this.")
    created_before: AwareDatetime | None = Field(default=None, description="Before this.")
    attributes: JsonObject = Field(
        default_factory=dict,
        max_length=_MAX_ATTRIBUTES,
        description="By declared attribute: a value, a list of values of which one must be met, or an object of "
        "bounds (`gte`, `gt`, `lte`, `lt`).",
    )

    def filter_of(self, owner_id: UUID, declared: Declared) -> Filter:
        """Return the filter among one owner's images, or raise `InvalidInput` for attributes that are not declared."""
        return Filter(
            owner_id,
            folder_id=self.folder_id,
            category=self.category,
            tags=tuple(self.tags),
            any_tags=tuple(self.any_tags),
            created_from=self.created_from,
            created_before=self.created_before,
            attributes=parse_conditions(self.attributes, declared),
            labels=tuple(self.labels),
            include_hidden=self.include_hidden,
        )


class RankingIn(BaseModel):
    """How results are to be ordered, if not by likeness alone; 0 leaves a wish out."""

    model_config = ConfigDict(extra="forbid")

    diversity: Diversity = 0.0
    recency: Recency = 0.0
    half_life_days: HalfLifeDays = 30.0
    one_per_group: OnePerGroup = False

    def of(self) -> Ranking:
        """Return the order."""
        return Ranking(self.diversity, self.recency, timedelta(days=self.half_life_days), self.one_per_group)


class SearchQuery(BaseModel):
    """A search by examples: `text`, `image_id` and `vector` are short for positive ones of weight 1."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"text": "a red circle on a blue background"},
                {
                    "image_id": "0b8f6c9e-6f0b-4d5a-8f0e-2f5f3a1c9d77",
                    "positive": [{"text": "red", "weight": 0.5}],
                    "negative": [{"text": "a high heel"}],
                    "filter": {"category": "shoes", "any_tags": ["sale", "new"], "attributes": {"price": {"lte": 100}}},
                    "limit": 50,
                },
            ]
        },
    )

    text: Sentence | None = None
    image_id: UUID | None = None
    vector: Numbers | None = None
    positive: list[ExampleIn] = Field(default_factory=list, max_length=MAX_EXAMPLES)
    negative: list[ExampleIn] = Field(default_factory=list, max_length=MAX_EXAMPLES)
    filter: FilterIn = Field(default_factory=FilterIn)
    limit: int = Field(default=20, ge=1, le=MAX_LIMIT)
    cursor: str | None = None
    min_score: float | None = Field(default=None, ge=-1, le=1)
    good_only: GoodOnly = False
    ranking: RankingIn = Field(default_factory=RankingIn)
    facets: WithFacets = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(example.weight > 0 for example in self.examples()):
            raise ValueError("give `text`, `image_id`, `vector` or something `positive`")
        return self

    def window(self) -> Window:
        """Return the part of the ranking, or raise `InvalidCursor`."""
        return Window(self.limit, decode_seen(self.cursor), self.min_score, self.ranking.of(), self.good_only)

    def examples(self) -> Iterator[Example]:
        """Yield what results are to be like, then what they are to be unlike."""
        short = (ExampleIn(**{name: given}) for name in _KINDS if (given := getattr(self, name)) is not None)
        for sign, given in ((1, [*short, *self.positive]), (-1, self.negative)):
            for example in given:
                of = example.text or example.image_id or np.array(example.vector, dtype=np.float32)
                yield Example(of, sign * example.weight)


_KINDS = ("text", "image_id", "vector")


class FacetOut(BaseModel):
    """A value, and how many images have it."""

    value: str
    count: int

    @classmethod
    def all_of(cls, facets: Sequence[Facet]) -> "list[FacetOut]":
        """Return facets as the API shows them."""
        return [cls(value=facet.value, count=facet.count) for facet in facets]


class FacetsOut(BaseModel):
    """The searchable images that pass a filter, counted; however like the query they are."""

    categories: list[FacetOut] = Field(description=f"The {MAX_FACETS} most frequent.")
    tags: list[FacetOut] = Field(description=f"The {MAX_FACETS} most frequent.")

    @classmethod
    def of(cls, facets: Facets) -> Self:
        """Return the counts as the API shows them."""
        return cls(categories=FacetOut.all_of(facets.categories), tags=FacetOut.all_of(facets.tags))


class SearchResult(BaseModel):
    """An image and how well it matches."""

    score: float = Field(description="Cosine similarity, -1 to 1.")
    image: ImageOut


class SearchOut(BaseModel):
    """A page of results, best first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "ViT-B-32/laion2b_s34b_b79k",
                "results": [],
                "no_good_match": True,
                "next_cursor": None,
            }
        }
    )

    model: str = Field(description="The model that ranked the results; all pages of a search are by the same.")
    trial: bool = Field(default=False, description="Whether that is not the active model, but one on trial.")
    results: list[SearchResult]
    no_good_match: bool = Field(
        default=False,
        description="Nothing found is a good match, by thresholds measured for the model; told with the first page.",
    )
    next_cursor: str | None
    facets: FacetsOut | None = Field(default=None, description="Only where it was asked for.")
