"""The learning domain's table."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "learning_paths",
        sa.Column("path_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("learning_style", sa.String(), nullable=False),
        sa.Column("time_commitment_hours", sa.Integer(), nullable=False),
        sa.Column("duration_days", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("path_id", name="pk_learning_paths"),
        sa.UniqueConstraint("event_id", name="uq_learning_paths_event_id"),
        sa.UniqueConstraint("user_id", "category", "version", name="uq_learning_paths_user_id"),
    )


def downgrade() -> None:
    op.drop_table("learning_paths")
