"""which instance the rows are of, and what its files must be"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CHECKS = ("sha256", sa.String()), ("result_bytes", sa.BigInteger()), ("clipped", sa.String())


def upgrade() -> None:
    op.create_table(
        "instances",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("seen_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
    )
    for name, kind in CHECKS:
        op.add_column("jobs", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for name, _ in CHECKS:
        op.drop_column("jobs", name)
    op.drop_table("instances")
