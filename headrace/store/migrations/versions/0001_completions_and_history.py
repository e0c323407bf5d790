"""The notifier's tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "completions",
        sa.Column("completion_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("record", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("completion_id", name="pk_completions"),
    )
    op.create_index("ix_completions_event_id", "completions", ["event_id"])
    op.create_table(
        "history",
        sa.Column("history_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("workflow_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("url", sa.Text()),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("sha256", sa.String()),
        sa.Column("error_code", sa.String()),
        sa.Column("error_message", sa.Text()),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_topic", sa.String()),
        sa.Column("published_partition", sa.Integer()),
        sa.Column("published_offset", sa.BigInteger()),
        sa.PrimaryKeyConstraint("history_id", name="pk_history"),
    )
    op.create_index("ix_history_event_id", "history", ["event_id"])
    op.create_index("ix_history_user_id", "history", ["user_id"])


def downgrade() -> None:
    op.drop_table("history")
    op.drop_table("completions")
