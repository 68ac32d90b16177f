"""The id that an instance's files and its database share: where they differ, one of the two is the wrong one.

A new id is written into a part first, then into the database, then it is brought into force. Where the database holds
the id of a part, a start was cut short, or runs beside this one; the next start finishes it.
"""

import re
import uuid

from sqlalchemy import column, delete, exists, func, insert, inspect, literal, select, table

from ezstems import database
from ezstems.database import db
from ezstems.errors import ConfigurationError
from ezstems.instance.home import Home
from ezstems.models.instance import ID_FILE, Instance

_ID = re.compile("[0-9a-f]{32}")
# Of any version: these tables and columns have been there from the first one on.
_USERS = table("users")
_JOBS = table("jobs", column("id"), column("expired_at"))
_VERSION = table("alembic_version", column("version_num"))
UNTOUCHED = "nothing was touched"
ADOPT = "see `ezstems instance show`; only if the pair is right, `ezstems instance adopt` binds one to the other"


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


def refuse_foreign_database(home: Home) -> None:
    """Raise ConfigurationError where the home holds no id and the database is bound to another one."""
    if home.read_id() is not None:
        return
    # In this order: a start that binds this home at this moment writes its id before the row.
    bound = database_id()
    if bound and not home.has_parts() and home.read_id() is None:
        raise ConfigurationError(_bound_elsewhere(home, bound))


def require_match(home: Home) -> None:
    """Raise ConfigurationError where home and database aren't one instance's; change neither."""
    own, held = home.read_id(), database_id()
    if held is not None:
        # In this order: a start that binds this home at this moment writes the row, then gives the id its name.
        if held == own or (_ID.fullmatch(held) and home.has_part(held)) or held == home.read_id():
            return
        if own is None:
            raise ConfigurationError(_bound_elsewhere(home, held))
        pair = f"{home.name} has the id {own}, the database {database.url_to_show()} has {held}"
        raise ConfigurationError(f"{pair}: they are not one instance's, {UNTOUCHED}; {ADOPT}")
    if own is not None and not _ID.fullmatch(own):
        raise ConfigurationError(f"{ID_FILE} in {home.name} must hold 32 hexadecimal digits, not {own[:64]!r}; {ADOPT}")
    if own is not None and not home.takes_new_database and database_id() != own:
        lost = f"{home.name} belongs to another database, not to {database.url_to_show()}"
        raise ConfigurationError(f"{lost}, which is bound to none: {UNTOUCHED}; {ADOPT}")
    if home.has_files() and (own is not None or not any(count_rows())):
        kind = "is bound to none" if any(count_rows()) else "is not there, or empty"
        lost = f"{home.name} holds songs, but the database {database.url_to_show()} {kind}"
        raise ConfigurationError(f"{lost}: it is lost, or belongs to others, {UNTOUCHED}; {ADOPT}")


def bind(home: Home, *, anew: bool = False) -> str:
    """Write one id into home and migrated database, a new one where neither has one, or `anew`; return it."""
    own, held = home.read_id(), database_id()
    if held is not None and held == own and not anew:
        return held
    if anew or (own is None and held is None):
        own = uuid.uuid4().hex
        home.write_part(own)
    with db.engine.begin() as connection:
        # Two that bind the same database do it one after the other here; the second finds the first one's row.
        connection.execute(select(_VERSION).with_for_update())
        if anew:
            connection.execute(delete(Instance))
        vacant = ~exists().select_from(Instance.__table__)
        connection.execute(insert(Instance).from_select(["id"], select(literal(own or held)).where(vacant)))
        held = connection.scalars(select(Instance.id)).one()
    home.bring_into_force(held, anew=anew)
    if home.read_id() != held:
        raise ConfigurationError(_bound_elsewhere(home, held))
    home.clear_parts()
    return held


def count_files(home: Home) -> tuple[int, int]:
    """Count a home's finished uploads and results, and those of which no row of the database speaks."""
    with database.connect_if_there() as connection:
        columns: set[str] = set()
        if connection is not None and inspect(connection).has_table("jobs"):
            columns = {each["name"] for each in inspect(connection).get_columns("jobs")}

        def is_named(name: str, value: str) -> bool:
            named = select(_JOBS.c.id).where(column(name) == value, _JOBS.c.expired_at.is_(None))
            return name in columns and connection is not None and connection.scalar(named) is not None

        named = [is_named(*file) for file in home.files()]
    return len(named), named.count(False)


def _bound_elsewhere(home: Home, held: str) -> str:
    elsewhere = f"belongs to another instance folder or store (its id is {held}), not to {home.name}"
    return f"the database {database.url_to_show()} {elsewhere}: {UNTOUCHED}; {ADOPT}"
