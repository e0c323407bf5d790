"""The ingress's tables: the ledger and the breakers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("record", sa.String(), nullable=False),
        sa.Column("payload_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("disposition", sa.String(), nullable=False),
        sa.Column("workflow_id", sa.String()),
        sa.Column("run_id", sa.String()),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("event_id", name="pk_ledger"),
    )
    op.create_index("ix_ledger_claimed_at", "ledger", ["claimed_at"])
    op.create_table(
        "breakers",
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("tripped_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("route", name="pk_breakers"),
    )


def downgrade() -> None:
    op.drop_table("breakers")
    op.drop_table("ledger")
