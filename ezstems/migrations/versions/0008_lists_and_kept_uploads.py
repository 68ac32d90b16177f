"""an account's list of jobs, what a client notes of each, and whether its upload is kept"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEPT = sa.text("expired_at IS NULL")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("metadata_text", sa.String(), nullable=True))
    # Of the jobs of before none keeps its upload: it went with their end.
    op.add_column("jobs", sa.Column("keeps_upload", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_jobs_kept", "jobs", ["user_id", "number", "status"], sqlite_where=KEPT, postgresql_where=KEPT
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_kept", "jobs")
    op.drop_column("jobs", "keeps_upload")
    op.drop_column("jobs", "metadata_text")
