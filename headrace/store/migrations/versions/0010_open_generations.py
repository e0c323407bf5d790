"""Later generations are open events too."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("open_events", sa.Column("generation", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    op.execute("DELETE FROM open_events WHERE generation > 1")
    op.drop_column("open_events", "generation")
