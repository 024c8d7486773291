"""Initial tables, and the built-in local owner with a default folder.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "embedding_models",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pretrained", sa.Text(), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.Column("preprocess_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('building', 'active', 'retired')", name="ck_embedding_models_state"),
        sa.PrimaryKeyConstraint("id", name="pk_embedding_models"),
        sa.UniqueConstraint("collection", name="uq_embedding_models_collection"),
        sa.UniqueConstraint(
            "name", "pretrained", "preprocess_version", name="uq_embedding_models_name_pretrained_preprocess_version"
        ),
    )
    op.create_index(
        "uq_embedding_models_active",
        "embedding_models",
        ["state"],
        unique=True,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "tombstones",
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("purge_after", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("image_id", name="pk_tombstones"),
    )
    op.create_index("ix_tombstones_purge_after", "tombstones", ["purge_after"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_table(
        "embeddings",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["embedding_models.id"], name="fk_embeddings_model_id"),
        sa.PrimaryKeyConstraint("sha256", "model_id", name="pk_embeddings"),
    )
    op.create_table(
        "folders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_folders_owner_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_folders"),
        sa.UniqueConstraint("owner_id", "name", name="uq_folders_owner_id_name"),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("folder_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("byte_size", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("status", sa.Text(), server_default="created", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries_left", sa.Integer(), server_default="5", nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("payload_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("indexed_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("indexed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(error_code IS NOT NULL) = (status = 'error')", name="ck_images_error"),
        sa.CheckConstraint("(lease_until IS NOT NULL) = (status IN ('embedding', 'indexing'))", name="ck_images_lease"),
        sa.CheckConstraint(
            "status IN ('created', 'pending', 'embedding', 'indexing', 'done', 'error')", name="ck_images_status"
        ),
        sa.CheckConstraint("attempt >= 0 AND tries_left >= 0", name="ck_images_tries"),
        sa.ForeignKeyConstraint(["folder_id"], ["folders.id"], name="fk_images_folder_id"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_images_owner_id"),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sa.UniqueConstraint("folder_id", "sha256", name="uq_images_folder_id_sha256"),
        sa.UniqueConstraint("owner_id", "external_id", name="uq_images_owner_id_external_id"),
    )
    op.create_index(
        "ix_images_created", "images", ["created_at"], unique=False, postgresql_where=sa.text("status = 'created'")
    )
    op.create_index(
        "ix_images_error", "images", ["updated_at"], unique=False, postgresql_where=sa.text("status = 'error'")
    )
    op.create_index(
        "ix_images_leased",
        "images",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("status IN ('embedding', 'indexing')"),
    )
    op.create_index("ix_images_owner_id_created_at_id", "images", ["owner_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_images_pending", "images", ["next_run_at"], unique=False, postgresql_where=sa.text("status = 'pending'")
    )
    op.create_index("ix_images_sha256", "images", ["sha256"], unique=False)
    op.create_index(
        "ix_images_stale_payload",
        "images",
        ["updated_at"],
        unique=False,
        postgresql_where=sa.text("status = 'done' AND payload_version <> indexed_version"),
    )
    op.create_index("ix_images_tags", "images", ["tags"], unique=False, postgresql_using="gin")
    op.create_table(
        "image_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("from_status", sa.Text(), nullable=True),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_image_events_image_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_image_events"),
    )
    op.create_index("ix_image_events_image_id_id", "image_events", ["image_id", "id"], unique=False)
    op.execute("INSERT INTO users (id, name) VALUES ('00000000-0000-4000-8000-000000000001', 'local')")
    op.execute(
        "INSERT INTO folders (id, owner_id, name) VALUES "
        "('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000001', 'default')"
    )


def downgrade() -> None:
    for table in ("image_events", "images", "folders", "embeddings", "users", "tombstones", "embedding_models"):
        op.drop_table(table)
