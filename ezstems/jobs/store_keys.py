"""The keys of a job's objects in a store, and whether all that must be there are, and whole."""

from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

import numpy as np

from ezstems.jobs.archive import RESULTS, UPLOADS
from ezstems.jobs.bucket import Bucket
from ezstems.jobs.damage import KEPT, RESULT
from ezstems.models import Files


def source(job: Files) -> PurePath:
    """Return the key of an upload."""
    return PurePath(UPLOADS, job.upload_key or job.filename)


def results(job_id: str, owner: str | None) -> tuple[PurePath, PurePath]:
    """Return the keys of the ZIP and of the peaks that an owner makes."""
    return PurePath(RESULTS, f"{job_id}.{owner}.zip"), PurePath(RESULTS, f"{job_id}.{owner}.peaks")


def previews(job: Files) -> PurePath:
    """Return the key of the previews of an owner's result."""
    return PurePath(RESULTS, f"{job.id}.{job.owner}.previews")


def wrong_size(found_bytes: int, expected_bytes: int | None) -> ValueError:
    """Return what is wrong with an object of another size."""
    return ValueError(f"{found_bytes} bytes, not {expected_bytes}")


def damaged(bucket: Bucket, jobs: Iterable[Any]) -> Iterator[tuple[Any, str, BaseException]]:
    """Yield what of completed jobs isn't in a list of all with its size, nor found when asked for."""
    # Hashes, since millions of names would take too much memory.
    listed = (hash((str(each.key), each.size_bytes)) for folder in (RESULTS, UPLOADS) for each in bucket.list(folder))
    known = np.sort(np.fromiter(listed, np.int64))
    for job in jobs:
        needed = [(RESULT, results(job.id, job.owner)[0], job.result_bytes)]
        if job.keeps_upload:
            needed.append((KEPT, source(job), job.size_bytes))
        for what, key, size_bytes in needed:
            sought = hash((str(key), size_bytes))
            at = int(np.searchsorted(known, sought))
            if at < len(known) and known[at] == sought:
                continue
            try:
                found_bytes = bucket.stat(key).size_bytes
            except FileNotFoundError as error:
                bucket.require_there()
                yield job, what, error
            else:
                if found_bytes != size_bytes:
                    yield job, what, wrong_size(found_bytes, size_bytes)
