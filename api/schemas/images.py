"""What the API takes and answers about images."""

from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.schemas.text import STORABLE, JsonObject
from common.db.embedding_models import label
from common.db.images import State
from common.db.models import EmbeddingModel, Image, ImageEvent
from common.db.reads import ShownImage
from common.status import ImageStatus, Visibility

MAX_TAGS = 50
MAX_POLLED = 1000

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), STORABLE]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), STORABLE]


class Description(BaseModel):
    """The descriptive fields of an image, all optional."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, StringConstraints(max_length=500), STORABLE] | None = None
    description: Annotated[str, StringConstraints(max_length=10_000), STORABLE] | None = None
    category: Name | None = None
    tags: list[Tag] = Field(default_factory=list, max_length=MAX_TAGS)
    attributes: JsonObject = Field(default_factory=dict)


class UploadFields(Description):
    """The form fields that may come with the files of an upload."""

    folder_id: UUID | None = None
    external_id: Name | None = None


class ImportFields(UploadFields):
    """What is to be downloaded, and the fields that may come with it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"url": "https://pictures.example/shoe.jpg", "category": "shoes"}},
    )

    url: str = Field(
        description="`http` or `https`, port 80 or 443, without user name or password, at most 2048 characters. "
        "It is stored, and never logged."
    )


class ImageEdit(Description):
    """Changes to the descriptive fields; what is left out stays as it is."""

    visibility: Visibility = Field(
        default=Visibility.VISIBLE, description="Whether searches show it; once given, no moderation changes it."
    )

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"title": "Oxford", "tags": ["shoes", "brown"]}}
    )


class ErrorOut(BaseModel):
    """Why an image was given up."""

    code: str
    detail: str


class AcceptedImage(BaseModel):
    """An accepted file and the image it became (or already was)."""

    id: UUID
    status: ImageStatus
    filename: str
    sha256: str | None = Field(description="Null for an import, whose bytes are still to be downloaded.")
    duplicate: bool = Field(description="The folder held the same bytes already; `id` is that image.")


class RejectedFile(BaseModel):
    """A file that was not accepted, and why."""

    filename: str
    code: str
    detail: str


class UploadOut(BaseModel):
    """What became of each file of an upload."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "images": [
                    {
                        "id": "0b8f6c9e-6f0b-4d5a-8f0e-2f5f3a1c9d77",
                        "status": "pending",
                        "filename": "shoe.jpg",
                        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                        "duplicate": False,
                    }
                ],
                "rejected": [
                    {"filename": "notes.jpg", "code": "unsupported_media", "detail": "not a supported image format"}
                ],
            }
        }
    )

    images: list[AcceptedImage]
    rejected: list[RejectedFile]


class Links(BaseModel):
    """Where to find what belongs to an image."""

    content: str
    thumbnail: str
    similar: str


class EventOut(BaseModel):
    """One state change of an image."""

    from_status: ImageStatus | None
    to_status: ImageStatus
    attempt: int
    worker: str | None
    error_code: str | None
    at: datetime

    @classmethod
    def of(cls, event: ImageEvent) -> "EventOut":
        """Show a row of `image_events`."""
        return cls.model_validate(event, from_attributes=True)


class LabelOut(BaseModel):
    """Something a stage of the pipeline has seen in an image."""

    label: str
    score: float = Field(description="How sure it is, 0 to 1.")
    source: str = Field(description="The stage.")

    @classmethod
    def all_of(cls, image: Image | ShownImage) -> "list[LabelOut]":
        """Return an image's labels, the surest first."""
        if not image.labels:
            return []
        shown = [
            cls(label=label, score=score, source=source)
            for source, scores in image.labels.items()
            for label, score in scores.items()
        ]
        return sorted(shown, key=lambda each: (-each.score, each.label, each.source))


class ImageOut(BaseModel):
    """An image and where it is on its way to being searchable."""

    id: UUID
    status: ImageStatus
    attempt: int
    error: ErrorOut | None
    filename: str
    media_type: str | None = Field(description="Like the four that follow, null while an import has no bytes.")
    byte_size: int | None
    width: int | None
    height: int | None
    sha256: str | None
    folder_id: UUID
    external_id: str | None
    title: str | None
    description: str | None
    category: str | None
    tags: list[str]
    attributes: dict[str, Any]
    labels: list[LabelOut] = Field(description="What stages of the pipeline see in it, the surest first.")
    visibility: Visibility = Field(description="Searches show `hidden` images only with `include_hidden`.")
    visibility_by: str | None = Field(description="Who decided that: `owner`, or a stage; null: nobody.")
    model: str | None = Field(description="The model it is indexed with; null until it is `done`.")
    created_at: datetime
    updated_at: datetime
    indexed_at: datetime | None
    links: Links

    @classmethod
    def of(cls, image: Image | ShownImage, model: EmbeddingModel | None) -> Self:
        """Show a row of `images`; `model` is the active one."""
        return cls.model_validate(fields_of(image, label(model) if model else None))


_COLUMNS = tuple(
    name for name in ImageOut.model_fields if hasattr(Image, name) and name not in ("id", "folder_id", "labels")
)
"""What is shown as the row has it."""

_columns_of = attrgetter(*_COLUMNS)


def fields_of(image: Image | ShownImage, model: str | None) -> dict[str, Any]:
    """Return the fields of an `ImageOut`; `model` is the active one's name."""
    # Spelled here: the ids of a row are of the driver's own kind, over which pydantic takes ten times as long.
    fields: dict[str, Any] = {"id": str(image.id), "folder_id": str(image.folder_id)}
    fields.update(zip(_COLUMNS, _columns_of(image), strict=True))
    path = f"/images/{fields['id']}"
    fields["labels"] = LabelOut.all_of(image)
    fields["error"] = _error(image)
    fields["model"] = model if image.status == ImageStatus.DONE else None
    fields["links"] = {"content": f"{path}/content", "thumbnail": f"{path}/thumbnail", "similar": f"{path}/similar"}
    return fields


class ImageDetail(ImageOut):
    """An image with what `include` asked for."""

    embedding: list[float] | None = Field(default=None, description="With `include=embedding`; L2-normalised.")
    events: list[EventOut] | None = Field(default=None, description="With `include=events`; oldest first.")


class ImagePage(BaseModel):
    """One page of a listing, newest first."""

    images: list[ImageOut]
    next_cursor: str | None


class StatusQuery(BaseModel):
    """Which images to report on."""

    ids: list[UUID] = Field(min_length=1, max_length=MAX_POLLED)


class StatusItem(BaseModel):
    """An image's state."""

    id: UUID
    status: ImageStatus
    error: ErrorOut | None

    @classmethod
    def of(cls, state: Image | State) -> Self:
        """Show an image's state."""
        return cls(id=state.id, status=ImageStatus(state.status), error=_error(state))


class StatusOut(BaseModel):
    """States of the images asked about, in that order; unknown ids are left out."""

    images: list[StatusItem]


Include = Literal["embedding", "events"]


def _error(image: Image | ShownImage | State) -> ErrorOut | None:
    if image.error_code is None:
        return None
    return ErrorOut(code=image.error_code, detail=image.error_message or "")
