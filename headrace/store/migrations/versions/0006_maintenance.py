"""History can be archived and is counted by day."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("history", sa.Column("backend", sa.String()))
    op.add_column("history", sa.Column("requested_at", sa.DateTime(timezone=True)))
    op.add_column("history", sa.Column("started_at", sa.DateTime(timezone=True)))
    op.add_column("history", sa.Column("archive_key", sa.String()))
    op.create_index("ix_history_recorded_at", "history", ["recorded_at"])
    op.create_index("ix_history_archive_key", "history", ["archive_key"])
    op.create_table(
        "history_archives",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("sha256", sa.String()),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True)),
        sa.Column("run_id", sa.String()),
        sa.PrimaryKeyConstraint("key", name="pk_history_archives"),
    )
    op.create_index("ix_history_archives_day", "history_archives", ["day"])
    op.create_index("ix_history_archives_run_id", "history_archives", ["run_id"])
    op.create_table(
        "daily_analytics",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("backend", sa.String(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("timed_out", sa.Integer(), nullable=False),
        sa.Column("terminated", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("error_codes", sa.Text(), nullable=False),
        sa.Column("run_seconds_p50", sa.Float()),
        sa.Column("run_seconds_p95", sa.Float()),
        sa.Column("run_seconds_p99", sa.Float()),
        sa.Column("run_seconds_max", sa.Float()),
        sa.Column("answer_seconds_p50", sa.Float()),
        sa.Column("answer_seconds_p95", sa.Float()),
        sa.Column("answer_seconds_p99", sa.Float()),
        sa.Column("answer_seconds_max", sa.Float()),
        sa.PrimaryKeyConstraint("day", "domain", "backend", name="pk_daily_analytics"),
    )


def downgrade() -> None:
    op.drop_table("daily_analytics")
    op.drop_table("history_archives")
    op.drop_index("ix_history_archive_key", "history")
    op.drop_index("ix_history_recorded_at", "history")
    with op.batch_alter_table("history") as history:
        for column in ("archive_key", "started_at", "requested_at", "backend"):
            history.drop_column(column)
