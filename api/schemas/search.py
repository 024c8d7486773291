"""What searches answer."""

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.images import ImageOut


class SearchResult(BaseModel):
    """An image and how well it matches."""

    score: float = Field(description="Cosine similarity, -1 to 1.")
    image: ImageOut


class SearchOut(BaseModel):
    """A page of results, best first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"model": "ViT-B-32/laion2b_s34b_b79k", "results": [], "next_cursor": None}}
    )

    model: str
    results: list[SearchResult]
    next_cursor: str | None
