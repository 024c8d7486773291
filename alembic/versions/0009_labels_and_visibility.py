"""What machines see in an image, and whether searches show it.

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("images", sa.Column("labels", JSONB, server_default="{}", nullable=False))
    op.add_column("images", sa.Column("visibility", sa.Text(), server_default="visible", nullable=False))
    op.add_column("images", sa.Column("visibility_by", sa.Text()))
    op.create_check_constraint(op.f("ck_images_visibility"), "images", "visibility IN ('visible', 'hidden')")
    op.create_check_constraint(
        op.f("ck_images_hidden_by"), "images", "visibility = 'visible' OR visibility_by IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_images_hidden_by"), "images", type_="check")
    op.drop_constraint(op.f("ck_images_visibility"), "images", type_="check")
    op.drop_column("images", "visibility_by")
    op.drop_column("images", "visibility")
    op.drop_column("images", "labels")
