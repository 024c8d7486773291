"""What the HTTP API answers, as far as its clients here read it."""

from uuid import UUID

from pydantic import BaseModel

from common.status import ImageStatus


class Accepted(BaseModel):
    """A file that is stored, and its image."""

    id: UUID
    status: ImageStatus
    filename: str
    sha256: str
    duplicate: bool


class Rejected(BaseModel):
    """A file that was not accepted, and why."""

    filename: str
    code: str
    detail: str


class UploadAnswer(BaseModel):
    """What became of each file of an upload; both lists keep the order of the files."""

    images: list[Accepted]
    rejected: list[Rejected]


class ImageError(BaseModel):
    """Why an image was given up."""

    code: str
    detail: str


class ImageState(BaseModel):
    """Where an image is on its way to being searchable."""

    id: UUID
    status: ImageStatus
    error: ImageError | None


class ImageStates(BaseModel):
    """The states of the images asked about, as far as they exist."""

    images: list[ImageState]


class FoundImage(BaseModel):
    """An image among search results."""

    id: UUID
    title: str | None
    filename: str


class Hit(BaseModel):
    """A search result: an image and its cosine similarity."""

    score: float
    image: FoundImage


class Hits(BaseModel):
    """Search results, best first, and the model that ranked them."""

    model: str
    results: list[Hit]


class Readiness(BaseModel):
    """Whether requests can be served, and by which model."""

    ready: bool
    model: str | None
    demo: bool
