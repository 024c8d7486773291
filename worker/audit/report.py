"""What an audit finds, and how it is written down: counts of everything, the first thousand ids of each kind."""

from enum import StrEnum

from pydantic import BaseModel, Field

MAX_ITEMS = 1000
"""Ids of one kind that a report names; it counts all."""


class Mismatch(StrEnum):
    """What can be wrong."""

    OBJECT_MISSING = "object_missing"
    """An image's original is not in the object store: only whoever has the bytes can bring it back."""
    OBJECT_WRONG_SIZE = "object_wrong_size"
    """An image's original has another size than was uploaded: as good as missing."""
    OBJECT_ORPHANED = "object_orphaned"
    """An object that no image has; it goes into quarantine, and is deleted when it has been there for long enough."""
    THUMBNAIL_MISSING = "thumbnail_missing"
    """A `done` image has no thumbnail."""
    EMBEDDING_MISSING = "embedding_missing"
    """A `done` image has no cached vector of the active model, or one that can't be its."""
    VECTOR_MISSING = "vector_missing"
    """A `done` image has no point in the vector index: searches don't find it."""
    VECTOR_WRONG = "vector_wrong"
    """A point's vector is not the cached one of its image: searches find it for what it is not."""
    VECTOR_ORPHANED = "vector_orphaned"
    """A point that no image has."""
    PAYLOAD_STALE = "payload_stale"
    """A point's payload is not its image's: filters go wrong."""
    COLLECTION_UNFIT = "collection_unfit"
    """A model's collection holds vectors of another dimension or distance: it is another model's."""


class Item(BaseModel):
    """One mismatch: the id of an image, a point's id, an object's key or a collection's name, and more in words."""

    id: str
    detail: str | None = None


class Tally(BaseModel):
    """All mismatches of one kind."""

    count: int = 0
    fixed: int = 0
    """How many of them were mended, or put on their way."""
    items: list[Item] = []


class Checked(BaseModel):
    """How much was looked at."""

    images: int = 0
    objects: int = 0
    points: int = 0


class Report(BaseModel):
    """The result of an audit.

    Attributes:
        fix: whether it was to mend what it could.
        sample: how much it was to look at; None: everything.
        checked: how much it has looked at.
        in_motion: images not judged, because they are being worked on or changed a moment ago.
        mismatches: what it found, by kind; kinds of which there are none are left out.
    """

    fix: bool
    sample: int | None
    checked: Checked = Field(default_factory=Checked)
    in_motion: int = 0
    mismatches: dict[Mismatch, Tally] = {}

    @property
    def found(self) -> int:
        """All mismatches."""
        return sum(tally.count for tally in self.mismatches.values())

    @property
    def left(self) -> int:
        """Mismatches that are still there."""
        return self.found - sum(tally.fixed for tally in self.mismatches.values())

    def add(self, kind: Mismatch, name: object, detail: str | None = None, *, fixed: bool = False) -> None:
        """Count a mismatch, and name it while there is room."""
        tally = self.mismatches.setdefault(kind, Tally())
        tally.count += 1
        tally.fixed += fixed
        if len(tally.items) < MAX_ITEMS:
            tally.items.append(Item(id=str(name), detail=detail))

    def count(self, kind: Mismatch) -> int:
        """Return how many of a kind were found."""
        return self.mismatches[kind].count if kind in self.mismatches else 0
