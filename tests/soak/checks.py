"""What must hold after a kill; each check returns what doesn't."""

import os
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.soak.kills import FFMPEG, children
from tests.soak.slips import OUTAGE
from tests.soak.songs import faults
from tests.soak.traffic import Upload
from tests.support.callers import Caller
from tests.support.servers import Server

# What a job may fail with, in rounds in which ffmpeg is killed; whatever else is killed, none fails.
OF_FFMPEG = ("The decoder was killed.", "The stem '")
STOP_SECONDS = 10.0
LONG_AGO_SECONDS = 7200.0
GONE_SECONDS = 20.0


def stopped(server: Server, seconds: float) -> list[str]:
    """After an orderly stop no job is left as if it ran."""
    assert server.process is not None
    found = [f"{row['id']} still runs" for row in server.rows("SELECT id FROM jobs WHERE status = 'processing'")]
    if seconds >= STOP_SECONDS or server.process.returncode:
        found.append(f"the stop took {seconds:.1f} s and ended with {server.process.returncode}")
    return found


def places(caller: Caller) -> list[str]:
    """Every worker's waiting jobs have the places 1 to n, in their order, whoever answers."""
    query = "SELECT id, owner FROM jobs WHERE status = 'queued' ORDER BY number"
    for _ in range(60):
        rows = caller.server.rows(query)
        told = {row["id"]: caller.status(row["id"])["queue_position"] for row in rows}
        owners = [row["owner"] for row in rows]
        right = {row["id"]: owners[: index + 1].count(row["owner"]) for index, row in enumerate(rows)}
        if told == right:
            return []
        time.sleep(0.1)  # some were adopted meanwhile, or one starts: it has left the line, and not yet its row
    return [f"places {told} instead of {right}, and that for seconds"]


def outcomes(
    caller: Caller, uploads: list[Upload], kind: str, log: str, counts: Counter[str], folder: Path
) -> list[str]:
    """Each accepted upload is one job, which ended rightly; one whose answer was lost is none, or such a job."""
    found: list[str] = []
    stems = folder / "stems"
    stems.mkdir(exist_ok=True)
    for upload in uploads:
        rows = caller.server.rows("SELECT * FROM jobs WHERE original_name = ?", upload.name)
        counts["accepted" if upload.job_id else "refused" if upload.refused else "unanswered"] += 1
        if upload.refused is not None and (kind not in (FFMPEG, OUTAGE) or rows):
            found.append(f"{upload.name} was refused: {upload.refused}")
        if upload.job_id and [row["id"] for row in rows] != [upload.job_id]:
            counts["doubled" if rows else "lost"] += 1
            found.append(f"{upload.job_id} is {len(rows)} jobs")
        for row in rows:
            if row["expired_at"] is None:
                found += _outcome(caller, row, upload, kind, counts, stems)
            else:
                counts["deleted"] += 1
            if log.count(f"job {row['id']}: completed") > 1:
                counts["doubled"] += 1
                found.append(f"{row['id']} completed twice")
    return found


def _outcome(
    caller: Caller, row: dict[str, Any], upload: Upload, kind: str, counts: Counter[str], stems: Path
) -> list[str]:
    counts[row["status"]] += 1
    if row["size_bytes"] != len(upload.song.content):
        return [f"{row['id']} was stored with {row['size_bytes']} bytes of {len(upload.song.content)}"]
    if row["status"] == "failed":
        honest = kind == FFMPEG and row["error"].startswith(OF_FFMPEG)
        return [] if honest else [f"{row['id']} failed: {row['error']}"]
    if row["status"] != "completed":
        counts["stuck"] += 1
        return []  # told by who waited for it
    answer = caller.get("download.php", id=row["id"])
    if answer.status_code != 200:
        return [f"{row['id']} can't be downloaded: {answer.text}"]
    told = faults(answer.content, upload.song, row["stems"], row["output"], stems)
    return [f"{row['id']}: {fault}" for fault in told]


def folders(server: Server, temporary: Path) -> list[str]:
    """Nothing is left but what a row speaks of: no parts, no temporary files, no ffmpeg; the database is whole."""
    deadline = time.monotonic() + GONE_SECONDS
    while _parts(server) and time.monotonic() < deadline:
        time.sleep(0.05)  # of a job that was deleted while it ran and is about to hear of it
    if _strays(server):
        # A whole file whose row was never committed waits for the sweep, which takes what is an hour old.
        for path in (file for folder in ("uploads", "results") for file in (server.instance / folder).iterdir()):
            os.utime(path, (time.time() - LONG_AGO_SECONDS,) * 2)
        server.command("jobs", "prune")
    found = _strays(server)
    found += [f"left in the temporary folder: {path.name}" for path in temporary.iterdir()]
    deadline = time.monotonic() + GONE_SECONDS
    while (running := children(server.instance)) and time.monotonic() < deadline:
        time.sleep(0.05)
    found += [f"ffmpeg lives on: {pid}" for pid in running]
    with closing(sqlite3.connect(server.instance / "ezstems.sqlite3")) as database:
        if (told := database.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
            found.append(f"the database: {told}")
    return found


def _parts(server: Server) -> list[Path]:
    return list((server.instance / "results").glob("*.part"))


def _strays(server: Server) -> list[str]:
    rows = server.rows("SELECT id, filename, status, keeps_upload FROM jobs WHERE expired_at IS NULL")
    sources = {row["filename"] for row in rows if row["status"] == "failed" or row["keeps_upload"]}
    completed = [row["id"] for row in rows if row["status"] == "completed"]
    archives = {f"{job_id}.{end}" for job_id in completed for end in ("zip", "peaks")}
    previews = {f"{job_id}.previews" for job_id in completed}  # which may not be there yet
    found = []
    for folder, right in (("uploads", sources), ("results", archives)):
        left = {path.name for path in (server.instance / folder).iterdir()} - previews
        found += [f"{name} is left in {folder}" for name in sorted(left - right)]
        found += [f"{name} is missing in {folder}" for name in sorted(right - left)]
    return found
