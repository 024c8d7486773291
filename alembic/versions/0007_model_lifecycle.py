"""Several models at once: which image has its point in whose collection, and which model was promoted and filled when.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("filled_at", "promoted_at"):
        op.add_column("embedding_models", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "indexings",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_indexings_image_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["model_id"], ["embedding_models.id"], name=op.f("fk_indexings_model_id")),
        sa.PrimaryKeyConstraint("model_id", "image_id", name=op.f("pk_indexings")),
    )
    op.execute("UPDATE embedding_models SET promoted_at = created_at, filled_at = created_at WHERE state = 'active'")
    op.execute(
        "INSERT INTO indexings (model_id, image_id) "
        "SELECT embedding_models.id, images.id FROM embedding_models CROSS JOIN images "
        "WHERE state = 'active' AND status = 'done'"
    )
    op.create_index("ix_indexings_image_id", "indexings", ["image_id"], unique=False)
    # It was made under the convention's name of its name.
    _replace(op.f("ck_operations_ck_operations_status"), op.f("ck_operations_status"), ["paused"])


def downgrade() -> None:
    # An operation that waits for good can't be told to the older release.
    op.execute("DELETE FROM operations WHERE status = 'paused'")
    _replace(op.f("ck_operations_status"), op.f("ck_operations_ck_operations_status"), [])
    op.drop_table("indexings")
    for name in ("promoted_at", "filled_at"):
        op.drop_column("embedding_models", name)


def _replace(old: str, new: str, more: list[str]) -> None:
    statuses = ", ".join(f"'{status}'" for status in ["queued", "running", "done", "failed", *more])
    op.drop_constraint(old, "operations", type_="check")
    op.create_check_constraint(new, "operations", f"status IN ({statuses})")
