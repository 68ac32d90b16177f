"""What callers do while something is killed: they upload, ask, download by ranges, and delete."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from types import TracebackType

import requests

from tests.soak.songs import Song
from tests.support.callers import Caller

UPLOADERS = 3
PAUSE_SECONDS = 0.05
MOST_DELETED = 3  # one in so many uploads: the others are to end


@dataclass
class Upload:
    """Remember what was sent; without an id, what came of it is not known, unless it was refused."""

    name: str
    song: Song
    stems: int
    output: str
    job_id: str | None = None
    refused: str | None = None
    deleted: bool = False


class Traffic:
    """Call a server from several threads for as long as the context lasts."""

    def __init__(
        self,
        caller: Caller,
        session: requests.Session,
        songs: list[Song],
        finished: list[Upload],
        seed: str,
        most: int,
    ) -> None:
        """Get ready to send `most` uploads; it may be raised meanwhile."""
        self.uploads: list[Upload] = []
        self.faults: list[str] = []
        self.ranges = 0
        self._caller = caller
        self._session = session
        self._songs = songs
        self._finished = finished
        self._seed = seed
        self.most = most
        self.outage = False  # while there is one, refusing is right
        self._stop = threading.Event()
        acts = [self._upload] * UPLOADERS + [self._ask, self._range, self._delete]
        self._threads = [
            threading.Thread(target=self._repeat, args=(act, number)) for number, act in enumerate(acts)
        ]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, act: Callable[[Random, str], None], number: int) -> None:
        random, count = Random(f"{self._seed}.{number}"), 0
        while not self._stop.wait(random.uniform(0, 2) * PAUSE_SECONDS):
            count += 1
            with suppress(OSError):  # that is what a caller sees of a kill, requests' errors among them
                act(random, f"{self._seed}-{number}-{count}")

    def _upload(self, random: Random, name: str) -> None:
        if len(self.uploads) >= self.most:
            return
        song = random.choice(self._songs)
        output = random.choice(("wav", "wav32", "mp3"))
        upload = Upload(f"{name}.{song.extension}", song, random.choice((2, 4, 5)), output)
        self.uploads.append(upload)
        answer = self._caller.send(song.content, upload.name, stems=upload.stems, output=upload.output)
        if answer.status_code == 200:
            upload.job_id = answer.json()["data"]["id"]
        else:
            upload.refused = answer.text
            if self.outage and not self._is_refused(answer):
                self.faults.append(f"{upload.name}: {answer.status_code} {answer.text}")

    def _is_refused(self, answer: requests.Response) -> bool:
        """Tell whether an outage explains an answer."""
        return self.outage and answer.status_code == 500 and "Retry-After" in answer.headers

    def _ask(self, random: Random, _name: str) -> None:
        if accepted := [upload for upload in list(self.uploads) if upload.job_id]:
            upload = random.choice(accepted)
            answer = self._caller.get("status.php", id=upload.job_id or "")
            told = answer.status_code == 200 or (answer.status_code == 404 and upload.deleted)
            if not told and not self._is_refused(answer):
                self.faults.append(f"status of {upload.job_id}: {answer.text}")

    def _range(self, random: Random, _name: str) -> None:
        if not self._finished:
            return
        upload = random.choice(self._finished)
        whole = self._whole(upload)
        start = random.randrange(len(whole))
        end = random.randrange(start, len(whole))
        headers = self._caller.headers | {"Range": f"bytes={start}-{end}"}
        url = f"{self._caller.server.api}/download.php?id={upload.job_id}"
        answer = requests.get(url, headers=headers, timeout=60)
        if self._is_refused(answer):
            return
        self.ranges += 1
        if answer.status_code != 206 or answer.content != whole[start : end + 1]:
            told = answer.text[:300] if answer.status_code >= 400 else f"{len(answer.content)} bytes"
            self.faults.append(f"range {start}-{end} of {upload.job_id}: {answer.status_code} {told}")

    def _whole(self, upload: Upload) -> bytes:
        """Return the ZIP of a finished job."""
        return (self._caller.server.instance / "results" / f"{upload.job_id}.zip").read_bytes()

    def _delete(self, random: Random, _name: str) -> None:
        uploads = list(self.uploads)
        accepted = [upload for upload in uploads if upload.job_id and not upload.deleted]
        few = sum(upload.deleted for upload in uploads) * MOST_DELETED < len(uploads)
        if accepted and few and random.random() < 0.15:
            upload = random.choice(accepted)
            upload.deleted = True  # also where the answer is lost: it may be
            self._delete_job(upload)

    def _delete_job(self, upload: Upload) -> None:
        url = f"{self._caller.server.url}/songs/{upload.job_id}/delete"
        self._session.post(url, headers={"Accept": "application/json"}, timeout=60).raise_for_status()
