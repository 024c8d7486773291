"""Duplicates: perceptual hashes, who looks like whom, groups, and which of them were dismissed.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TIER = "tier IN ('near', 'similar')"
_NOW = sa.text("now()")


def upgrade() -> None:
    _compare_images()
    op.create_table(
        "fingerprints",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("hash", sa.BigInteger(), nullable=True),
        sa.Column("bands", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_fingerprints")),
    )
    op.create_index(
        "ix_fingerprints_bands",
        "fingerprints",
        ["bands"],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    _create_contents()
    op.create_table(
        "likenesses",
        sa.Column("content_id", sa.Uuid(), nullable=False),
        sa.Column("other_id", sa.Uuid(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("distance", sa.Integer(), nullable=True),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("criteria_id", sa.Integer(), nullable=False),
        sa.CheckConstraint(_TIER, name=op.f("ck_likenesses_tier")),
        sa.ForeignKeyConstraint(
            ["content_id"], ["contents.id"], name=op.f("fk_likenesses_content_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("content_id", "other_id", name=op.f("pk_likenesses")),
    )
    _create_groups()


def _compare_images() -> None:
    op.create_table(
        "criteria",
        sa.Column("id", sa.Integer(), sa.Identity(start=2), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("hash_version", sa.Integer(), nullable=False),
        sa.Column("near_distance", sa.Integer(), nullable=False),
        sa.Column("near_score", sa.Float(), nullable=False),
        sa.Column("similar_score", sa.Float(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["embedding_models.id"], name=op.f("fk_criteria_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_criteria")),
    )
    op.add_column("images", sa.Column("compared_by", sa.Integer(), server_default="0", nullable=False))
    op.create_index(
        "ix_images_compared_by", "images", ["compared_by"], unique=False, postgresql_where=sa.text("status = 'done'")
    )


def _create_contents() -> None:
    op.create_table(
        "contents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("copies_dismissed", sa.Boolean(), server_default="false", nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_contents_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contents")),
        sa.UniqueConstraint("owner_id", "sha256", name=op.f("uq_contents_owner_id_sha256")),
    )
    op.create_index(
        "ix_contents_copied",
        "contents",
        ["owner_id", "id"],
        unique=False,
        postgresql_where=sa.text("copies > 1 AND NOT copies_dismissed"),
    )
    op.create_index("ix_contents_gone", "contents", ["id"], unique=False, postgresql_where=sa.text("copies < 1"))


def _create_groups() -> None:
    op.create_table(
        "group_members",
        sa.Column("content_id", sa.Uuid(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("centre_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(_TIER, name=op.f("ck_group_members_tier")),
        sa.ForeignKeyConstraint(
            ["content_id"], ["contents.id"], name=op.f("fk_group_members_content_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("content_id", "tier", name=op.f("pk_group_members")),
    )
    op.create_index(
        "ix_group_members_owner_id_tier_centre_id", "group_members", ["owner_id", "tier", "centre_id"], unique=False
    )
    op.create_table(
        "dismissals",
        sa.Column("content_id", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.CheckConstraint(_TIER, name=op.f("ck_dismissals_tier")),
        sa.ForeignKeyConstraint(
            ["content_id"], ["contents.id"], name=op.f("fk_dismissals_content_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("content_id", "group_id", "tier", name=op.f("pk_dismissals")),
    )
    op.create_index("ix_dismissals_group_id_tier", "dismissals", ["group_id", "tier"], unique=False)


def downgrade() -> None:
    for name in ("dismissals", "group_members", "likenesses", "contents", "fingerprints", "criteria"):
        op.drop_table(name)
    op.drop_column("images", "compared_by")
