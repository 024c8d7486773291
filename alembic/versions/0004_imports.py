"""Images that are downloaded from a URL: until they have their bytes, nothing is known of these.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OF_THE_BYTES = ("sha256", "object_key", "media_type", "byte_size", "width", "height")


def upgrade() -> None:
    op.add_column("images", sa.Column("source_url", sa.Text(), nullable=True))
    for name in _OF_THE_BYTES:
        op.alter_column("images", name, nullable=True)
    missing = f"num_nulls({', '.join(_OF_THE_BYTES)})"
    op.create_check_constraint(
        op.f("ck_images_bytes"),
        "images",
        f"{missing} = 0 OR {missing} = 6 AND source_url IS NOT NULL AND status IN ('created', 'error')",
    )
    op.create_index(
        "ix_images_downloads",
        "images",
        ["next_run_at"],
        unique=False,
        postgresql_where=sa.text("status = 'created' AND sha256 IS NULL"),
    )


def downgrade() -> None:
    # What has no bytes yet can't be told to the older release.
    op.execute("DELETE FROM images WHERE sha256 IS NULL")
    op.drop_index("ix_images_downloads", table_name="images")
    op.drop_constraint(op.f("ck_images_bytes"), "images", type_="check")
    for name in _OF_THE_BYTES:
        op.alter_column("images", name, nullable=False)
    op.drop_column("images", "source_url")
