"""The tables of duplicates. How they hang together is told in `docs/architecture.md`."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Integer, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from common.db.base import Base, Timestamp
from common.duplicates import LINKED

_TIERS = ", ".join(f"'{tier}'" for tier in LINKED)


class Fingerprint(Base):
    """The perceptual hash of some bytes, whoever has them; kept like an `Embedding`, but of no model."""

    __tablename__ = "fingerprints"
    __table_args__ = (
        # Without a list of pending entries, which every search would have to read from end to end.
        Index("ix_fingerprints_bands", "bands", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
    )

    sha256: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    hash: Mapped[int | None] = mapped_column(BigInteger)
    """The 64 bits as a signed number; None: there is too little to see."""
    bands: Mapped[list[int]] = mapped_column(ARRAY(Integer()))
    """The hash cut in four, each part marked with its place."""


class Criteria(Base):
    """By what duplicates are told: each time that changes, a new row, and all images are compared again."""

    __tablename__ = "criteria"

    id: Mapped[int] = mapped_column(Identity(start=2), primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("embedding_models.id", ondelete="CASCADE"))
    hash_version: Mapped[int]
    near_distance: Mapped[int]
    near_score: Mapped[float]
    similar_score: Mapped[float]
    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now())


class Content(Base):
    """What one owner has once or several times: the same bytes, in as many folders."""

    __tablename__ = "contents"
    __table_args__ = (
        UniqueConstraint("owner_id", "sha256"),
        Index(
            "ix_contents_copied",
            "owner_id",
            "id",
            postgresql_where=text("copies > 1 AND NOT copies_dismissed"),
        ),
        Index("ix_contents_gone", "id", postgresql_where=text("copies < 1")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """Random, which keeps chains of changes short, see `common.db.groups`."""
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    sha256: Mapped[str]
    copies: Mapped[int]
    """Images with these bytes that have been compared."""
    copies_dismissed: Mapped[bool] = mapped_column(server_default="false")
    """Whether the owner means to have all of them; a new one makes that False."""


class Likeness(Base):
    """That one content looks like another; there are two rows, one from each side."""

    __tablename__ = "likenesses"
    __table_args__ = (CheckConstraint(f"tier IN ({_TIERS})", name="tier"),)

    content_id: Mapped[UUID] = mapped_column(ForeignKey("contents.id", ondelete="CASCADE"), primary_key=True)
    other_id: Mapped[UUID] = mapped_column(primary_key=True)
    """No foreign key, which would need an index to be checked by: both rows are removed together."""
    tier: Mapped[str]
    distance: Mapped[int | None]
    """Bits in which the perceptual hashes differ."""
    score: Mapped[float]
    """Cosine similarity of the vectors."""
    criteria_id: Mapped[int]


class GroupMember(Base):
    """To which group a content belongs: the one around itself, or around another content it looks like."""

    __tablename__ = "group_members"
    __table_args__ = (
        CheckConstraint(f"tier IN ({_TIERS})", name="tier"),
        Index("ix_group_members_owner_id_tier_centre_id", "owner_id", "tier", "centre_id"),
    )

    content_id: Mapped[UUID] = mapped_column(ForeignKey("contents.id", ondelete="CASCADE"), primary_key=True)
    tier: Mapped[str] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID]
    centre_id: Mapped[UUID]


class Dismissal(Base):
    """That a content was in a group whose members, the owner says, are no duplicates of each other."""

    __tablename__ = "dismissals"
    __table_args__ = (
        CheckConstraint(f"tier IN ({_TIERS})", name="tier"),
        Index("ix_dismissals_group_id_tier", "group_id", "tier"),
    )

    content_id: Mapped[UUID] = mapped_column(ForeignKey("contents.id", ondelete="CASCADE"), primary_key=True)
    group_id: Mapped[UUID] = mapped_column(primary_key=True)
    tier: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now())
