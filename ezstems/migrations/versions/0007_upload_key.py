"""the key of an upload that an object store keeps"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("upload_key", sa.String(), nullable=True))
    op.create_index(op.f("ix_jobs_upload_key"), "jobs", ["upload_key"])


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_upload_key"), "jobs")
    op.drop_column("jobs", "upload_key")
