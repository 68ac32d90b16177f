"""The id that an instance folder and its database share: where they differ, one of the two is the wrong one.

A new id is written into a `.part` file first, then into the database, then the file gets its final name. Where the
database holds the id of a `.part` file, a start was cut short, or runs beside this one; the next start finishes it.
"""

import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

from sqlalchemy import column, delete, exists, func, insert, inspect, literal, select, table

from ezstems import database
from ezstems.database import db
from ezstems.errors import ConfigurationError
from ezstems.files import sync
from ezstems.jobs.archive import Archive, finished_files
from ezstems.models.instance import ID_FILE, Instance

PARTS = f"{ID_FILE}.*.part"
_ID = re.compile("[0-9a-f]{32}")
# Of any version: these tables and columns have been there from the first one on.
_USERS = table("users")
_JOBS = table("jobs", column("id"), column("expired_at"))
_VERSION = table("alembic_version", column("version_num"))
UNTOUCHED = "nothing was touched"
ADOPT = "see `ezstems instance show`; only if the pair is right, `ezstems instance adopt` binds one to the other"


def folder_id(folder: Path) -> str | None:
    """Return the id that a folder holds, or None."""
    try:
        return (folder / ID_FILE).read_text(errors="replace").strip()
    except FileNotFoundError:
        return None


def database_id() -> str | None:
    """Return the id that the database holds, or None; it may be of any version, or not be there."""
    with database.connect_if_there() as connection:
        if connection is None or not inspect(connection).has_table(Instance.__tablename__):
            return None
        return " and ".join(connection.scalars(select(Instance.id).order_by(Instance.id))) or None


def database_exists() -> bool:
    """Tell whether there is a database, and anything in it."""
    with database.connect_if_there() as connection:
        return connection is not None and bool(inspect(connection).get_table_names())


def count_rows() -> tuple[int, int]:
    """Return how many accounts and jobs the database holds, whatever its version; none where it isn't there."""
    with database.connect_if_there() as connection:
        if connection is None or not inspect(connection).has_table(_JOBS.name):
            return 0, 0
        accounts, jobs = (
            connection.scalars(select(func.count()).select_from(rows)).one() for rows in (_USERS, _JOBS)
        )
        return accounts, jobs


def refuse_foreign_database(folder: Path) -> None:
    """Raise ConfigurationError where the folder holds no id and the database is bound to another one."""
    if (folder / ID_FILE).exists():
        return
    # In this order: a start that binds this folder at this moment writes the file before the row.
    bound = database_id()
    if bound and not any(folder.glob(PARTS)) and not (folder / ID_FILE).exists():
        raise ConfigurationError(_bound_elsewhere(folder, bound))


def require_match(folder: Path) -> None:
    """Raise ConfigurationError where folder and database aren't one instance's; change neither."""
    own, held = folder_id(folder), database_id()
    if held is not None:
        # In this order: a start that binds this folder at this moment writes the row, then gives the file its name.
        if held == own or (_ID.fullmatch(held) and _part(folder, held).exists()) or held == folder_id(folder):
            return
        if own is None:
            raise ConfigurationError(_bound_elsewhere(folder, held))
        pair = f"the instance folder {folder} has the id {own}, the database {database.url_to_show()} has {held}"
        raise ConfigurationError(f"{pair}: they are not one instance's, {UNTOUCHED}; {ADOPT}")
    if own is not None and not _ID.fullmatch(own):
        raise ConfigurationError(f"{folder / ID_FILE} must hold 32 hexadecimal digits, not {own[:64]!r}; {ADOPT}")
    if any(finished_files(folder)) and (own is not None or not any(count_rows())):
        kind = "is bound to no folder" if any(count_rows()) else "is not there, or empty"
        lost = f"the instance folder {folder} holds songs, but the database {database.url_to_show()} {kind}"
        raise ConfigurationError(f"{lost}: it is lost, or not this folder's, {UNTOUCHED}; {ADOPT}")


def bind(folder: Path, *, anew: bool = False) -> str:
    """Write one id into folder and migrated database, a new one where neither has one, or `anew`; return it."""
    own, held = folder_id(folder), database_id()
    if held is not None and held == own and not anew:
        return held
    if anew or (own is None and held is None):
        own = uuid.uuid4().hex
        _write(_part(folder, own), own)
    with db.engine.begin() as connection:
        # Two that bind the same database do it one after the other here; the second finds the first one's row.
        connection.execute(select(_VERSION).with_for_update())
        if anew:
            connection.execute(delete(Instance))
        vacant = ~exists().select_from(Instance.__table__)
        connection.execute(insert(Instance).from_select(["id"], select(literal(own or held)).where(vacant)))
        held = connection.scalars(select(Instance.id)).one()
    with suppress(FileNotFoundError):  # it is the folder's already
        _part(folder, held).replace(folder / ID_FILE)
        sync(folder)
    if folder_id(folder) != held:
        raise ConfigurationError(_bound_elsewhere(folder, held))
    for left in folder.glob(PARTS):  # of starts that were cut short before the row
        left.unlink(missing_ok=True)
    return held


def count_files(folder: Path) -> tuple[int, int]:
    """Count the folder's finished uploads and results, and those of which no row of the database speaks."""
    with database.connect_if_there() as connection:
        is_there = connection is not None and inspect(connection).has_table("jobs")

        def is_named(path: Path) -> bool:
            named = select(_JOBS.c.id).where(_JOBS.c.id == Archive.job_id(path), _JOBS.c.expired_at.is_(None))
            return is_there and connection is not None and connection.scalar(named) is not None

        named = [is_named(path) for path in finished_files(folder)]
    return len(named), named.count(False)


def _bound_elsewhere(folder: Path, held: str) -> str:
    elsewhere = f"belongs to another instance folder (its id is {held}), not to {folder}"
    return f"the database {database.url_to_show()} {elsewhere}: {UNTOUCHED}; {ADOPT}"


def _part(folder: Path, new: str) -> Path:
    return folder / PARTS.replace("*", new)


def _write(location: Path, text: str) -> None:
    with os.fdopen(os.open(location, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    sync(location.parent)
