"""An object store, by obstore: whole objects put, read by ranges, listed, copied and deleted.

Whatever fails is StorageAway, with the reason in the log, except that an object isn't there (FileNotFoundError), or
there already (FileExistsError). Nothing here waits for long: who can wait tries again.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from functools import cached_property, partial
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ezstems.errors import StorageAway
from ezstems.jobs import in_child
from ezstems.jobs.opened_object import MOST_BYTES, OpenedObject
from ezstems.models.instance import ID_FILE

log = logging.getLogger(__name__)

AWAY = "The server's storage can't be reached. Try again later."
RETRY_AFTER_SECONDS = 60
# A server that is gone without a word must not hold a request for minutes.
CLIENT_OPTIONS = {"connect_timeout": "5s", "timeout": "30s"}
RETRIES = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=2), "base": 2},
}
PROBES = {"max_retries": 0, "retry_timeout": timedelta(seconds=3)}
PROBE_OPTIONS = {"connect_timeout": "3s", "timeout": "5s"}
PROBE_EVERY_SECONDS = 5.0
# Parts of a put that are in memory: so many, of so many bytes. S3 takes none smaller (but the last).
PUT_PARTS, PART_BYTES = 3, 5 << 20
LIST_AT_ONCE = 1000
ID = PurePath(ID_FILE)


class Stored(NamedTuple):
    """Describe an object: its key, its size, and when it was put, in UTC by the store's own clock."""

    key: PurePath
    size_bytes: int
    changed_at: datetime


class Bucket:
    """Use what a storage URL names: a bucket and a prefix in it, or with `file:` a folder."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet."""
        self.url = url
        self.is_folder = url.startswith("file:")
        self._probing = threading.Lock()
        self._known_at_seconds = float("-inf")
        self._is_away = False
        self._id: bytes | None = None  # as it was found first

    @cached_property
    def _store(self) -> Any:
        return connect(self.url, CLIENT_OPTIONS, RETRIES)

    @cached_property
    def _impatient_store(self) -> Any:
        return connect(self.url, PROBE_OPTIONS, PROBES)

    def put(self, key: PurePath, content: Path | bytes, *, create: bool = False) -> None:
        """Put an object, which is there as a whole or not at all; with `create`, raise FileExistsError over another."""
        options = {"mode": "create"} if create else {"chunk_size": PART_BYTES, "max_concurrency": PUT_PARTS}
        with self._translating():
            in_child.call(lambda: self._store.put(str(key), content, **options))

    def read(self, key: PurePath) -> bytes:
        """Return a small object."""
        with self._translating():
            return in_child.call(lambda: bytes(self._store.get(str(key)).bytes()))

    def stat(self, key: PurePath) -> Stored:
        """Describe an object."""
        with self._translating():
            return in_child.call(lambda: _stored(self._store.head(str(key))))

    def open(self, key: PurePath, most_bytes: int = MOST_BYTES) -> OpenedObject:
        """Open an object for reads of up to so many bytes."""
        with self._translating():
            meta = self._store.head(str(key))
        tag, stored = meta["e_tag"], _stored(meta)
        name = re.sub("[^A-Za-z0-9._-]", "", tag or str(stored.changed_at))
        fetch = partial(self.read_range, str(key), tag)
        return OpenedObject(fetch, stored.size_bytes, name, stored.changed_at, most_bytes)

    def read_range(self, key: str, e_tag: str | None, start: int, end: int) -> memoryview:
        """Return some bytes of an object that still has this tag."""
        options: dict[str, Any] = {"range": (start, end)}
        if e_tag is not None:
            options["if_match"] = e_tag
        with self._translating():
            return memoryview(self._store.get(key, options=options).bytes())

    def list(self, folder: str) -> Iterator[Stored]:
        """Yield the objects below a folder."""
        if self.is_folder:  # an absent mount's point is as good as empty
            self.require_there()
        with self._translating():
            for objects in self._store.list(f"{folder}/", chunk_size=LIST_AT_ONCE):
                yield from map(_stored, objects)

    def has_any(self, folder: str) -> bool:
        """Tell whether there is an object below a folder."""
        with self._translating():
            return in_child.call(lambda: any(self._store.list(f"{folder}/")))

    def copy(self, key: PurePath, to: PurePath) -> None:
        """Copy an object inside the store."""
        with self._translating():
            if self.is_folder:  # a link would keep the time of the first
                self._store.put(str(to), Path(unquote(urlsplit(self.url).path), key))
            else:
                self._store.copy(str(key), str(to))

    def delete(self, *keys: PurePath) -> None:
        """Delete objects, those of them that are there."""
        for key in keys:
            with self._translating(), suppress(FileNotFoundError):
                in_child.call(lambda key=key: self._store.delete(str(key)))  # type: ignore[misc]

    def probe(self, key: PurePath) -> None:
        """Put, list, read and delete an object, with no patience; raise what obstore raises."""
        in_child.call(lambda: _probe(self._impatient_store, str(key)))

    def require_there(self) -> None:
        """Raise StorageAway where no id is there, or another: a store that has lost all, or isn't the right one."""
        try:
            self._require_id(self.read(ID))
        except FileNotFoundError as error:
            self._note(error)
            raise StorageAway(AWAY, RETRY_AFTER_SECONDS) from error

    def is_away(self) -> bool:
        """Tell whether the store can't be reached; look at most every few seconds, one thread at a time."""
        now_seconds = time.monotonic()
        if now_seconds - self._known_at_seconds > PROBE_EVERY_SECONDS and self._probing.acquire(blocking=False):
            try:
                try:
                    self._require_id(bytes(self._impatient_store.get(str(ID)).bytes()))
                except Exception as error:
                    self._note(error)
                else:
                    self._note(None)
            finally:
                self._probing.release()
        return self._is_away

    def _require_id(self, found: bytes) -> None:
        self._id = self._id or found
        if found != self._id:
            raise FileNotFoundError(f"another instance's id lies there: {found[:64]!r}, not {self._id!r}")

    def _note(self, error: BaseException | None) -> None:
        was_away, self._is_away = self._is_away, error is not None
        self._known_at_seconds = time.monotonic()
        if error is not None and not was_away:
            log.error("the storage %s can't be reached: %s", self.url, reason(error))
        elif error is None and was_away:
            log.warning("the storage %s can be reached again", self.url)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError, PreconditionError

        try:
            yield
        except (FileNotFoundError, GeneratorExit):
            raise
        except AlreadyExistsError as error:
            raise FileExistsError(reason(error)) from error
        except PreconditionError as error:  # another one lies there since it was opened
            raise FileNotFoundError(reason(error)) from error
        except InvalidPathError as error:  # a list of names that nobody here gave; the store is there
            log.error("the storage %s can't be listed until its operator deletes what has such a name: %s",
                      self.url, reason(error))  # fmt: skip
            raise StorageAway(AWAY, RETRY_AFTER_SECONDS) from error
        except BaseError as error:
            self._note(error)
            raise StorageAway(AWAY, RETRY_AFTER_SECONDS) from error
        except OSError as error:
            if error.errno is not None:  # of a local file that is put
                raise
            self._note(error)
            raise StorageAway(AWAY, RETRY_AFTER_SECONDS) from error
        else:
            if self._is_away:
                self._note(None)


def connect(url: str, client_options: dict[str, Any], retries: dict[str, Any]) -> Any:
    """Return obstore's store for a URL; raise ValueError that says what is wrong with it."""
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    endpoints = (os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"))
    plain = any(endpoint.startswith("http://") for endpoint in endpoints)
    try:
        if url.startswith("file:"):
            if not Path(unquote(urlsplit(url).path)).is_dir():
                raise FileNotFoundError(url)
            return from_url(url, mkdir=False)
        options: dict[str, Any] = {"client_options": {**client_options, "allow_http": plain}, "retry_config": retries}
        return from_url(url, **options)
    except (BaseError, ValueError) as error:
        raise ValueError(reason(error)) from error


def _probe(store: Any, name: str) -> None:
    store.list_with_delimiter()  # first: there are stores that make a bucket for the first object
    store.put(name, b"probe")
    store.get(name).bytes()
    store.delete(name)


def reason(error: BaseException) -> str:
    """Return the first line of what a library says."""
    return " ".join(str(error).partition("\n")[0].split()) or type(error).__name__


def _stored(meta: Any) -> Stored:
    changed_at = meta["last_modified"].astimezone(timezone.utc).replace(tzinfo=None)
    return Stored(PurePath(meta["path"]), meta["size"], changed_at)
