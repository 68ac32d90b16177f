"""a row for each session, counts of attempts"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_index("ix_sessions_seen_at", "sessions", ["seen_at"])
    op.create_table(
        "attempts",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ends_at", sa.DateTime(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "slot", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_ends_at", "attempts", ["ends_at"])
    # Sessions began anew with the rows: what browsers hold from before fits none of them. SQLite before 3.35 drops no
    # column, and a table that others refer to can't be made anew while foreign keys are held: there the column stays,
    # with its default and unused.
    dialect = op.get_bind().dialect
    if dialect.name != "sqlite" or (dialect.server_version_info or ()) >= (3, 35):
        op.drop_column("users", "session_token")


def downgrade() -> None:
    connection = op.get_bind()
    if "session_token" not in {column["name"] for column in sa.inspect(connection).get_columns("users")}:
        op.add_column("users", sa.Column("session_token", sa.String(), nullable=False, server_default=""))
    users = sa.table("users", sa.column("id", sa.Integer()), sa.column("session_token", sa.String()))
    for number in connection.scalars(sa.select(users.c.id)).all():
        connection.execute(sa.update(users).where(users.c.id == number).values(session_token=secrets.token_hex(16)))
    op.drop_index("ix_attempts_ends_at", table_name="attempts")
    op.drop_table("attempts")
    op.drop_index("ix_sessions_seen_at", table_name="sessions")
    op.drop_index("ix_sessions_user_id", table_name="sessions")
    op.drop_table("sessions")
