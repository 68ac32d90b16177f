"""a user's session token, a key's name"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # SQLite adds no column without a default to rows; each gets a token of its own, the empty one fits no session.
    op.add_column("users", sa.Column("session_token", sa.String(), nullable=False, server_default=""))
    users = sa.table("users", sa.column("id", sa.Integer()), sa.column("session_token", sa.String()))
    connection = op.get_bind()
    for number in connection.scalars(sa.select(users.c.id)).all():
        connection.execute(sa.update(users).where(users.c.id == number).values(session_token=secrets.token_hex(16)))
    op.add_column("api_keys", sa.Column("name", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "name")
    op.drop_column("users", "session_token")
