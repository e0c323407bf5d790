"""What became of dead letters, and later generations of events whose run failed."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "redrives",
        sa.Column("dead_letter_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Uuid()),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("cause", sa.Text()),
        sa.Column("redrive_id", sa.Uuid(), nullable=False),
        sa.Column("redrives", sa.Integer(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.Column("to_topic", sa.String(), nullable=False),
        sa.Column("to_partition", sa.Integer(), nullable=False),
        sa.Column("to_offset", sa.BigInteger()),
        sa.Column("to_offset_at_least", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dead_letter_id", name="pk_redrives"),
    )
    for column in ("event_id", "state", "redrive_id"):
        op.create_index(f"ix_redrives_{column}", "redrives", [column])
    op.create_table(
        "reruns",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("workflow_id", sa.String(), nullable=False),
        sa.Column("failed_run_id", sa.String(), nullable=False),
        sa.Column("rerun_id", sa.Uuid(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.String()),
        sa.PrimaryKeyConstraint("event_id", "generation", name="pk_reruns"),
    )


def downgrade() -> None:
    op.drop_table("reruns")
    op.drop_table("redrives")
