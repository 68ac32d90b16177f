"""jobs by their status, and by whose they are"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_status_user_id", "jobs", ["status", "user_id"])


def downgrade() -> None:
    op.drop_index("ix_jobs_status_user_id", table_name="jobs")
