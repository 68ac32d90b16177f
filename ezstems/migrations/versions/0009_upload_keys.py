"""keys that uploads bear, so that one sent again makes no second job"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "upload_keys",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("claim", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("leased_until", sa.DateTime(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_upload_keys_user_id")),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_upload_keys")),
        sa.UniqueConstraint("claim", name=op.f("uq_upload_keys_claim")),
    )
    op.create_index("ix_upload_keys_created_at", "upload_keys", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_upload_keys_created_at", table_name="upload_keys")
    op.drop_table("upload_keys")
