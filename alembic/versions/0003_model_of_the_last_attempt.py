"""The model of an image's last attempt.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("images", sa.Column("model_id", sa.Integer(), nullable=True))
    op.create_foreign_key("fk_images_model_id", "images", "embedding_models", ["model_id"], ["id"], ondelete="SET NULL")


def downgrade() -> None:
    op.drop_column("images", "model_id")
