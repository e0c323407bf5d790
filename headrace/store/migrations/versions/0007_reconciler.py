"""Completions are decided before they are published; what the reconciler knows."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_UNDELIVERED = sa.text("published_at IS NULL")


def upgrade() -> None:
    with op.batch_alter_table("completions") as completions:
        completions.add_column(sa.Column("status", sa.String()))
        completions.add_column(sa.Column("decided_at", sa.DateTime(timezone=True)))
        completions.add_column(sa.Column("key", sa.LargeBinary()))
        completions.add_column(sa.Column("value", sa.LargeBinary()))
        completions.add_column(sa.Column("headers", sa.Text()))
        completions.alter_column("partition", existing_type=sa.Integer(), nullable=True)
        completions.alter_column("offset", existing_type=sa.BigInteger(), nullable=True)
        completions.alter_column("published_at", existing_type=sa.DateTime(timezone=True), nullable=True)
    op.execute("UPDATE completions SET decided_at = published_at")
    op.create_index("ix_completions_undelivered", "completions", ["decided_at"], sqlite_where=_UNDELIVERED, postgresql_where=_UNDELIVERED)
    op.create_table(
        "open_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("record", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("workflow_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String()),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_check", sa.DateTime(timezone=True), nullable=False),
        sa.Column("missing_since", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("event_id", name="pk_open_events"),
    )
    op.create_index("ix_open_events_claimed_at", "open_events", ["claimed_at"])
    op.create_index("ix_open_events_next_check", "open_events", ["next_check"])
    op.create_table(
        "reconciler",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.Uuid()),
        sa.PrimaryKeyConstraint("name", name="pk_reconciler"),
    )


def downgrade() -> None:
    op.drop_table("reconciler")
    op.drop_table("open_events")
    op.drop_index("ix_completions_undelivered", "completions")
    op.execute("DELETE FROM completions WHERE published_at IS NULL")
    with op.batch_alter_table("completions") as completions:
        for column in ("status", "decided_at", "key", "value", "headers"):
            completions.drop_column(column)
        completions.alter_column("partition", existing_type=sa.Integer(), nullable=False)
        completions.alter_column("offset", existing_type=sa.BigInteger(), nullable=False)
        completions.alter_column("published_at", existing_type=sa.DateTime(timezone=True), nullable=False)
