"""What was measured of a model's scores.

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("embedding_models", sa.Column("thresholds", JSONB))


def downgrade() -> None:
    op.drop_column("embedding_models", "thresholds")
