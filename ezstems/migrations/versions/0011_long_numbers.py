"""numbers of 64 bits for jobs and their samples, kept jobs by when they ended"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

KEPT = sa.text("expired_at IS NULL")


def upgrade() -> None:
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"], postgresql_where=KEPT, sqlite_where=KEPT)
    _alter("BIGINT")


def downgrade() -> None:
    _alter("INTEGER")
    op.drop_index("ix_jobs_finished_at", table_name="jobs")


def _alter(kind: str) -> None:
    # SQLite's integers all have 64 bits.
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE jobs ALTER COLUMN number TYPE {kind}, ALTER COLUMN samples TYPE {kind}")
        op.execute(f"ALTER SEQUENCE jobs_number_seq AS {kind}")
