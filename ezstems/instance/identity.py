"""The id that an instance folder and its database share: where they differ, one of the two is the wrong one.

A new id is written into a file of its own first, then into the database, then that file becomes the folder's: where the
database holds the id of such a file, a start was cut short, or goes on beside this one, and whoever comes ends it.
"""

import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

from sqlalchemy import column, delete, exists, func, insert, inspect, literal, select, table

from ezstems import database
from ezstems.audio.files import sync
from ezstems.database import db
from ezstems.errors import ConfigurationError
from ezstems.jobs.archive import Archive, kept
from ezstems.models import Instance

FILE = "instance_id"
PARTS = f"{FILE}.*.part"
_ID = re.compile("[0-9a-f]{32}")
# Of any version: these tables and columns have been there from the first one on.
_USERS = table("users")
_JOBS = table("jobs", column("id"), column("expired_at"))
_VERSION = table("alembic_version", column("version_num"))
UNTOUCHED = "nothing was touched"
ADOPT = "see `ezstems instance show`; only if the pair is right, `ezstems instance adopt` binds one to the other"


def of_folder(folder: Path) -> str | None:
    """Return the id that a folder holds, or None."""
    try:
        return (folder / FILE).read_text(errors="replace").strip()
    except FileNotFoundError:
        return None


def of_database() -> str | None:
    """Return the id that the database holds, or None; it may be of any version, or not be there."""
    with database.look() as connection:
        if connection is None or not inspect(connection).has_table(Instance.__tablename__):
            return None
        return " and ".join(connection.scalars(select(Instance.id).order_by(Instance.id))) or None


def is_there() -> bool:
    """Tell whether there is a database, and anything in it."""
    with database.look() as connection:
        return connection is not None and bool(inspect(connection).get_table_names())


def population() -> tuple[int, int]:
    """Count the accounts and jobs of a database of any version, or of none."""
    with database.look() as connection:
        if connection is None or not inspect(connection).has_table(_JOBS.name):
            return 0, 0
        accounts, jobs = (
            connection.scalars(select(func.count()).select_from(rows)).one() for rows in (_USERS, _JOBS)
        )
        return accounts, jobs


def require_own(folder: Path) -> None:
    """Raise ConfigurationError where a database is bound, and not to a folder that holds no id: touch neither."""
    if (folder / FILE).exists():
        return
    # In this order: whoever binds this very folder at this moment puts a file there before the row.
    bound = of_database()
    if bound and not any(folder.glob(PARTS)) and not (folder / FILE).exists():
        raise ConfigurationError(_stranger(folder, bound))


def require_match(folder: Path) -> None:
    """Raise ConfigurationError where folder and database aren't one instance's, before either is touched."""
    own, held = of_folder(folder), of_database()
    if held is not None:
        if held == own or (_ID.fullmatch(held) and _part(folder, held).exists()):
            return
        if own is None:
            raise ConfigurationError(_stranger(folder, held))
        pair = f"the instance folder {folder} has the id {own}, the database {database.name()} has {held}"
        raise ConfigurationError(f"{pair}: they are not one instance's, {UNTOUCHED}; {ADOPT}")
    if own is not None and not _ID.fullmatch(own):
        raise ConfigurationError(f"{folder / FILE} must hold 32 hexadecimal digits, not {own[:64]!r}; {ADOPT}")
    if any(kept(folder)) and (own is not None or not any(population())):
        kind = "is bound to no folder" if any(population()) else "is not there, or empty"
        lost = f"the instance folder {folder} holds songs, but the database {database.name()} {kind}"
        raise ConfigurationError(f"{lost}: it is lost, or not this folder's, {UNTOUCHED}; {ADOPT}")


def bind(folder: Path, *, anew: bool = False) -> str:
    """Let folder and migrated database hold the same id, a new one where neither has one or it is to be; return it."""
    own, held = of_folder(folder), of_database()
    if held is not None and held == own and not anew:
        return held
    if anew or (own is None and held is None):
        own = uuid.uuid4().hex
        _write(_part(folder, own), own)
    with db.engine.begin() as connection:
        # Who binds one database at once takes turns here; the second finds the first one's row.
        connection.execute(select(_VERSION).with_for_update())
        if anew:
            connection.execute(delete(Instance))
        vacant = ~exists().select_from(Instance.__table__)
        connection.execute(insert(Instance).from_select(["id"], select(literal(own or held)).where(vacant)))
        held = connection.scalars(select(Instance.id)).one()
    with suppress(FileNotFoundError):  # it is the folder's already
        _part(folder, held).replace(folder / FILE)
        sync(folder)
    if of_folder(folder) != held:
        raise ConfigurationError(_stranger(folder, held))
    for left in folder.glob(PARTS):  # of starts that were cut short before the row
        left.unlink(missing_ok=True)
    return held


def files(folder: Path) -> tuple[int, int]:
    """Count the folder's finished uploads and results, and those of which no row of the database speaks."""
    with database.look() as connection:
        is_there = connection is not None and inspect(connection).has_table("jobs")

        def is_named(path: Path) -> bool:
            named = select(_JOBS.c.id).where(_JOBS.c.id == Archive.job_id(path), _JOBS.c.expired_at.is_(None))
            return is_there and connection is not None and connection.scalar(named) is not None

        named = [is_named(path) for path in kept(folder)]
    return len(named), named.count(False)


def _stranger(folder: Path, held: str) -> str:
    pair = f"the database {database.name()} belongs to another instance folder (its id is {held}), not to {folder}"
    return f"{pair}: {UNTOUCHED}; {ADOPT}"


def _part(folder: Path, new: str) -> Path:
    return folder / PARTS.replace("*", new)


def _write(location: Path, text: str) -> None:
    with os.fdopen(os.open(location, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    sync(location.parent)
