"""Where an instance's files are, and the id that says so: the instance folder, or an object store."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Protocol

from ezstems.files import sync
from ezstems.jobs.archive import RESULTS, UPLOADS
from ezstems.jobs.bucket import Bucket
from ezstems.jobs.names import finished_files, job_id_of
from ezstems.models.instance import ID_FILE

PARTS = f"{ID_FILE}.*.part"


class Home(Protocol):
    """Hold the id that the files share with their database, and new ones that aren't in force yet, the parts."""

    @property
    def name(self) -> str:
        """Return what to call it, and where it is."""
        ...

    @property
    def place(self) -> str:
        """Return where it is."""
        ...

    @property
    def takes_new_database(self) -> bool:
        """Tell whether one that is bound, and holds no song, may be bound to a database that isn't."""
        ...

    def read_id(self) -> str | None:
        """Return the id, or None."""
        ...

    def has_part(self, new: str) -> bool:
        """Tell whether there is a part with an id."""
        ...

    def has_parts(self) -> bool:
        """Tell whether there is any part."""
        ...

    def write_part(self, new: str) -> None:
        """Write a part."""
        ...

    def bring_into_force(self, new: str, *, anew: bool) -> None:
        """Make a part's id the id, `anew` also over another one; do nothing where there is no such part."""
        ...

    def clear_parts(self) -> None:
        """Delete the parts of starts that were cut short."""
        ...

    def has_files(self) -> bool:
        """Tell whether there is any finished upload or result."""
        ...

    def files(self) -> Iterable[tuple[str, str]]:
        """Yield, of each finished upload and result, the column of `jobs` and its value there that name it."""
        ...


class FolderHome:
    """Hold the id in a file of the instance folder (a `Home`)."""

    takes_new_database = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.place, self.name = str(folder), f"the instance folder {folder}"

    def read_id(self) -> str | None:
        """Return what the file says, or None."""
        try:
            return (self._folder / ID_FILE).read_text(errors="replace").strip()
        except FileNotFoundError:
            return None

    def has_part(self, new: str) -> bool:
        """Tell whether there is a part with an id."""
        return self._part(new).exists()

    def has_parts(self) -> bool:
        """Tell whether there is any part."""
        return any(self._folder.glob(PARTS))

    def write_part(self, new: str) -> None:
        """Write a part, durably."""
        with os.fdopen(os.open(self._part(new), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.write(new)
            handle.flush()
            os.fsync(handle.fileno())
        sync(self._folder)

    def bring_into_force(self, new: str, *, anew: bool) -> None:
        """Rename the part: the folder's lock is held."""
        with suppress(FileNotFoundError):  # it is the folder's already
            self._part(new).replace(self._folder / ID_FILE)
            sync(self._folder)

    def clear_parts(self) -> None:
        """Delete the parts of starts that were cut short."""
        for left in self._folder.glob(PARTS):
            left.unlink(missing_ok=True)

    def has_files(self) -> bool:
        """Tell whether there is any finished upload or result."""
        return any(finished_files(self._folder))

    def files(self) -> Iterable[tuple[str, str]]:
        """Yield the id of each file's job."""
        return (("id", job_id_of(path)) for path in finished_files(self._folder))

    def _part(self, new: str) -> Path:
        return self._folder / PARTS.replace("*", new)


class StoreHome:
    """Hold the id in an object of the store (a `Home`): many boxes make it at once, and the first one's stays."""

    takes_new_database = False

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._written: list[PurePath] = []
        self.place, self.name = bucket.url, f"the store {bucket.url}"

    def read_id(self) -> str | None:
        """Return what the object says, or None."""
        try:
            return self._bucket.read(PurePath(ID_FILE)).decode(errors="replace").strip()
        except FileNotFoundError:
            return None

    def has_part(self, new: str) -> bool:
        """Tell whether there is a part with an id, or another box has just brought it into force."""
        try:
            self._bucket.stat(self._part(new))
        except FileNotFoundError:
            return self.read_id() == new
        return True

    def has_parts(self) -> bool:
        """Tell whether there is any part."""
        return self._bucket.has_any(f"{ID_FILE}.parts")

    def write_part(self, new: str) -> None:
        """Write a part."""
        self._written.append(self._part(new))
        self._bucket.put(self._part(new), new.encode())

    def bring_into_force(self, new: str, *, anew: bool) -> None:
        """Put the id, `anew` over another one, otherwise only where there is none."""
        if self.has_part(new):
            with suppress(FileExistsError):
                self._bucket.put(PurePath(ID_FILE), new.encode(), create=not anew)
            self._bucket.delete(self._part(new))

    def clear_parts(self) -> None:
        """Delete those of this process: another box may be about to use one of its own."""
        self._bucket.delete(*self._written)

    def has_files(self) -> bool:
        """Tell whether there is any upload or result."""
        return any(map(self._bucket.has_any, (UPLOADS, RESULTS)))

    def files(self) -> Iterable[tuple[str, str]]:
        """Yield the key of each upload, the id of each result's job."""
        for stored in self._bucket.list(UPLOADS):
            yield "upload_key", stored.key.name
        for stored in self._bucket.list(RESULTS):
            yield "id", stored.key.name.partition(".")[0]

    def _part(self, new: str) -> PurePath:
        return PurePath(f"{ID_FILE}.parts", new)
