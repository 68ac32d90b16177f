"""Run the migrations on the app's own database, all of them in one transaction or none, one process at a time."""

from alembic import context
from flask import current_app

MIGRATING = 0x457A5374656D73  # PostgreSQL's advisory locks are numbers; nobody else's is "EzStems"

db = current_app.extensions["migrate"].db

with db.engine.connect() as connection:
    if db.engine.dialect.name == "sqlite":
        # Python's driver begins a transaction before INSERT, UPDATE and DELETE alone: a process that died between two
        # changes of the tables would leave the first. IMMEDIATE: who comes second looks when the first is done.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif db.engine.dialect.name == "postgresql":
        # Held until the commit; whoever waits for it waits as long as the migrations take.
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATING})")
    context.configure(
        connection=connection, target_metadata=db.metadata, **current_app.extensions["migrate"].configure_args
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
