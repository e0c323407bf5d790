"""The transaction domain's tables: accounts, holds, orders, stock, the double-entry ledger, and the steps that were done."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_USED = sa.text("reference <> '' AND state <> 'released'")


def upgrade() -> None:
    op.create_table(
        "credit_accounts",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_credit_accounts"),
        sa.CheckConstraint("0 <= held AND held <= balance", name="ck_credit_accounts_held"),
    )
    op.create_table(
        "credit_holds",
        sa.Column("transaction_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", name="pk_credit_holds"),
    )
    op.create_index(
        "uq_credit_holds_reference", "credit_holds", ["user_id", "reference"], unique=True, sqlite_where=_USED, postgresql_where=_USED
    )
    op.create_table(
        "credit_orders",
        sa.Column("transaction_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", name="pk_credit_orders"),
    )
    op.create_table(
        "credit_stock",
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("item", name="pk_credit_stock"),
        sa.CheckConstraint("0 <= available", name="ck_credit_stock_available"),
    )
    op.create_table(
        "credit_entries",
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", "kind", "account", name="pk_credit_entries"),
    )
    op.create_table(
        "credit_steps",
        sa.Column("transaction_id", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("answer", sa.BigInteger()),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", "step", name="pk_credit_steps"),
    )


def downgrade() -> None:
    for table in ("credit_steps", "credit_entries", "credit_stock", "credit_orders", "credit_holds", "credit_accounts"):
        op.drop_table(table)
