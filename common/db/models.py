"""The tables (architecture, section 4). What each state means stands in `common.status`."""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from common.db.base import Base, Timestamp
from common.status import ImageStatus, OperationStatus, Visibility

LOCAL_OWNER_ID = UUID("00000000-0000-4000-8000-000000000001")
"""The built-in owner of everything until there are accounts; its row comes with the first migration."""
LOCAL_FOLDER_ID = UUID("00000000-0000-4000-8000-000000000002")
"""The built-in owner's default folder."""

OWNER = "owner"
"""In `Image.visibility_by`: the owner decided."""

TRIES = 5
"""How often an image may be tried before it is given up; an outage of a dependency does not count."""

_OPERATION_STATUSES = ", ".join(f"'{status}'" for status in OperationStatus)
_STATUSES = ", ".join(f"'{status}'" for status in ImageStatus)
_VISIBILITIES = ", ".join(f"'{visibility}'" for visibility in Visibility)
_BYTES_MISSING = "num_nulls(sha256, object_key, media_type, byte_size, width, height)"


class User(Base):
    """Someone who owns images."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now())


class Folder(Base):
    """Where an owner keeps images; the same bytes are kept once per folder."""

    __tablename__ = "folders"
    __table_args__ = (UniqueConstraint("owner_id", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now())


class Image(Base):
    """One image of one owner, and where it is on its way to being searchable."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("folder_id", "sha256"),
        UniqueConstraint("owner_id", "external_id"),
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        CheckConstraint("attempt >= 0 AND tries_left >= 0", name="tries"),
        CheckConstraint("(lease_until IS NOT NULL) = (status IN ('embedding', 'indexing'))", name="lease"),
        CheckConstraint("(error_code IS NOT NULL) = (status = 'error')", name="error"),
        CheckConstraint(
            f"{_BYTES_MISSING} = 0 "
            f"OR {_BYTES_MISSING} = 6 AND source_url IS NOT NULL AND status IN ('created', 'error')",
            name="bytes",
        ),
        CheckConstraint(f"visibility IN ({_VISIBILITIES})", name="visibility"),
        CheckConstraint("visibility = 'visible' OR visibility_by IS NOT NULL", name="hidden_by"),
        Index("ix_images_sha256", "sha256"),
        Index("ix_images_owner_id_created_at_id", "owner_id", "created_at", "id"),
        Index("ix_images_tags", "tags", postgresql_using="gin"),
        Index("ix_images_created", "created_at", postgresql_where=text("status = 'created'")),
        Index("ix_images_downloads", "next_run_at", postgresql_where=text("status = 'created' AND sha256 IS NULL")),
        Index("ix_images_pending", "next_run_at", postgresql_where=text("status = 'pending'")),
        Index("ix_images_leased", "lease_until", postgresql_where=text("status IN ('embedding', 'indexing')")),
        Index("ix_images_error", "updated_at", postgresql_where=text("status = 'error'")),
        Index(
            "ix_images_stale_payload",
            "updated_at",
            postgresql_where=text("status = 'done' AND payload_version <> indexed_version"),
        ),
        Index("ix_images_compared_by", "compared_by", postgresql_where=text("status = 'done'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    folder_id: Mapped[UUID] = mapped_column(ForeignKey("folders.id"))
    external_id: Mapped[str | None]
    source_url: Mapped[str | None]
    """Where an import is downloaded from; its query may hold secrets. None: it was uploaded."""
    filename: Mapped[str]
    # What follows is null together, and only while an import has no bytes (`has_bytes`): `created`, or given up. It is
    # typed as present because everything but the download itself deals with images that have their bytes.
    sha256: Mapped[str] = mapped_column(nullable=True)
    object_key: Mapped[str] = mapped_column(nullable=True)
    media_type: Mapped[str] = mapped_column(nullable=True)
    byte_size: Mapped[int] = mapped_column(BigInteger, nullable=True)
    width: Mapped[int] = mapped_column(nullable=True)
    height: Mapped[int] = mapped_column(nullable=True)

    title: Mapped[str | None]
    description: Mapped[str | None]
    category: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(server_default="{}")
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")

    labels: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """What stages of the pipeline see in it: by their name, then by label, the score; `common.db.labels` writes it."""
    visibility: Mapped[str] = mapped_column(server_default=Visibility.VISIBLE)
    visibility_by: Mapped[str | None]
    """Who decided that: `OWNER`, whose word is final, or a stage; None: nobody."""

    status: Mapped[str] = mapped_column(server_default=ImageStatus.CREATED)
    attempt: Mapped[int] = mapped_column(server_default="0")
    """The fence: raised by every claim, never lowered."""
    tries_left: Mapped[int] = mapped_column(server_default=str(TRIES))
    lease_owner: Mapped[str | None]
    lease_until: Mapped[Timestamp | None]
    next_run_at: Mapped[Timestamp] = mapped_column(server_default=func.now())
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    model_id: Mapped[int | None] = mapped_column(ForeignKey("embedding_models.id", ondelete="SET NULL"))
    """The model of its last attempt; None before the first."""

    payload_version: Mapped[int] = mapped_column(server_default="1")
    """Raised by every edit of what the vector index filters by …"""
    indexed_version: Mapped[int] = mapped_column(server_default="0")
    """… and the version the index holds: where the two differ on a `done` image, the index lags behind."""

    compared_by: Mapped[int] = mapped_column(server_default="0")
    """By which criteria its duplicates were looked for, see `common.db.criteria`; 0: they have not been yet."""

    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now())
    updated_at: Mapped[Timestamp] = mapped_column(server_default=func.now())
    indexed_at: Mapped[Timestamp | None]

    @property
    def has_bytes(self) -> bool:
        """Whether its bytes are known: of every upload, and of an import once it was downloaded."""
        return self.sha256 is not None


class ImageEvent(Base):
    """One state change of an image."""

    __tablename__ = "image_events"
    __table_args__ = (Index("ix_image_events_image_id_id", "image_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    image_id: Mapped[UUID] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    from_status: Mapped[str | None]
    to_status: Mapped[str]
    attempt: Mapped[int]
    worker: Mapped[str | None]
    error_code: Mapped[str | None]
    at: Mapped[Timestamp] = mapped_column(server_default=func.clock_timestamp())


class Tombstone(Base):
    """A deleted image, remembered until no worker can still be writing what belonged to it."""

    __tablename__ = "tombstones"

    image_id: Mapped[UUID] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    purge_after: Mapped[Timestamp] = mapped_column(index=True)


class EmbeddingModel(Base):
    """A model and the collection that holds its vectors.

    `active`: exactly one, which searches ask and `done` speaks of. `building`: kept up to date, not searched; it is
    being filled, or was active before. `retired`: nothing of it is kept but this row. Those not retired are *live*.
    """

    __tablename__ = "embedding_models"
    __table_args__ = (
        UniqueConstraint("name", "pretrained", "preprocess_version"),
        CheckConstraint("state IN ('building', 'active', 'retired')", name="state"),
        Index("uq_embedding_models_active", "state", unique=True, postgresql_where=text("state = 'active'")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    pretrained: Mapped[str]
    dim: Mapped[int]
    preprocess_version: Mapped[int]
    state: Mapped[str]
    collection: Mapped[str] = mapped_column(unique=True)
    thresholds: Mapped[dict[str, Any] | None]
    """What its scores mean, `common.calibration.ScoreThresholds`; None: nobody has measured that."""
    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now())
    filled_at: Mapped[Timestamp | None]
    """When a fill last found that no `done` image lacks its point here."""
    promoted_at: Mapped[Timestamp | None]
    """When it became active last; None: it never was."""


class Indexing(Base):
    """An image's point is in a model's collection, as far as the image is `done`."""

    __tablename__ = "indexings"
    __table_args__ = (Index("ix_indexings_image_id", "image_id"),)

    model_id: Mapped[int] = mapped_column(ForeignKey("embedding_models.id"), primary_key=True)
    image_id: Mapped[UUID] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)


class Embedding(Base):
    """The embedding cache: the same bytes are never embedded twice by the same model."""

    __tablename__ = "embeddings"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("embedding_models.id"), primary_key=True)
    vector: Mapped[bytes]
    """float32, little-endian, L2-normalised."""
    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now())


class Operation(Base):
    """Long work that a command or a worker asks for, and any worker does under a lease."""

    __tablename__ = "operations"
    __table_args__ = (
        CheckConstraint(f"status IN ({_OPERATION_STATUSES})", name="status"),
        CheckConstraint("attempt >= 0 AND tries_left >= 0", name="tries"),
        CheckConstraint("(lease_until IS NOT NULL) = (status = 'running')", name="lease"),
        CheckConstraint("(finished_at IS NOT NULL) = (status IN ('done', 'failed'))", name="finished"),
        Index("ix_operations_live", "next_run_at", postgresql_where=text("status IN ('queued', 'running')")),
        Index("ix_operations_origin_created_at", "origin", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    origin: Mapped[str]
    """Who asked: `cli`, or what made a worker start it by itself."""
    params: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(server_default=OperationStatus.QUEUED)
    attempt: Mapped[int] = mapped_column(server_default="0")
    """The fence: raised by every claim, never lowered."""
    tries_left: Mapped[int] = mapped_column(server_default=str(TRIES))
    lease_owner: Mapped[str | None]
    lease_until: Mapped[Timestamp | None]
    next_run_at: Mapped[Timestamp] = mapped_column(server_default=func.now())
    done: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Steps done by the present attempt …"""
    total: Mapped[int | None] = mapped_column(BigInteger)
    """… of about so many."""
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    """Why it failed, or why the last attempt was put back."""
    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now())
    started_at: Mapped[Timestamp | None]
    finished_at: Mapped[Timestamp | None]


class QuarantinedObject(Base):
    """An object that belongs to no image. It is deleted when it has been here for long enough, see `common.purge`."""

    __tablename__ = "quarantine"

    key: Mapped[str] = mapped_column(primary_key=True)
    first_seen: Mapped[Timestamp] = mapped_column(server_default=func.now(), index=True)


class Search(Base):
    """One search that was answered. It refers to nothing by key: a log holds nobody up, and outlives what it names."""

    __tablename__ = "search_log"
    __table_args__ = (CheckConstraint("kind IN ('text', 'image', 'picture', 'examples')", name="kind"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[Timestamp] = mapped_column(server_default=func.now(), index=True)
    owner_id: Mapped[UUID]
    session: Mapped[str | None]
    """What the client calls the visit of one person, if it says so."""
    kind: Mapped[str]
    """By a text, an image, a picture that is not kept, or several examples with weights."""
    text: Mapped[str | None]
    image_id: Mapped[UUID | None]
    filters: Mapped[dict[str, Any]]
    depth: Mapped[int]
    """How many results of the same search were shown before: 0 on its first page."""
    found: Mapped[int]
    """How many this page shows."""
    ms: Mapped[float] = mapped_column(Double)
    """What it took, from the query's vector to the rows; not the transfer of the request."""
    model: Mapped[str]
    trial: Mapped[bool] = mapped_column(server_default=false())
    """Answered by a model that is being tried out."""
