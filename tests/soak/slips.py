"""What operators do by mistake, and what must hold right then; each slip returns what didn't, and leaves all in order.

Callers go on meanwhile. What the slips have in common: nothing that was accepted is lost by them.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from ezstems.jobs.outcome import BROKEN
from tests.support.servers import ROOT, Server

FILES = ("uploads", "results")
# Days by which a clock is wrong: beyond the retention, and beyond what a ZIP's dates can say.
CLOCKS = (4, 400, 36_500, -0.4, -400, -18_000)
LONG_AGO_SECONDS = 7200.0
CLOCK_FILE = "clock"


def with_clock(folder: Path) -> dict[str, str]:
    """Return what a server's environment needs so that `set_clock` turns its clock."""
    file = folder / CLOCK_FILE
    file.write_text("0")
    return {"SOAK_CLOCK": str(file), "PYTHONPATH": f"{Path(__file__).with_name('clock')}{os.pathsep}{ROOT}"}


def set_clock(server: Server, days: float) -> None:
    """Turn the clock of a server that was started with one."""
    beside = server.instance.with_name(f"{CLOCK_FILE}.part")
    beside.write_text(str(days * 86_400))
    beside.replace(server.instance.with_name(CLOCK_FILE))


def wrong_database(server: Server, random: Random) -> list[str]:
    """Start on another database, which is refused, then on the right one."""
    server.stop()
    wrong = server.instance.with_name("wrong.sqlite3")
    if random.random() < 0.5:
        faults = _refused(server, EZSTEMS_DATABASE_URL=f"sqlite:///{wrong}")
        wrong.unlink(missing_ok=True)
    else:  # or the right one is away
        aside = _move_database(server.instance, server.instance.with_name("aside"))
        faults = _refused(server)
        faults += [f"{path.name} was made anew" for path in server.instance.glob("ezstems.sqlite3*")]
        for path in server.instance.glob("ezstems.sqlite3*"):
            path.unlink()
        _move_database(aside, server.instance)
    server.start()
    return faults


def older_database(server: Server, random: Random) -> list[str]:
    """Put an older copy back, prune with it, then find the mistake and put the right one back."""
    server.stop()
    older = server.instance.with_name("older")
    shutil.rmtree(older, ignore_errors=True)
    _copy_database(server.instance, older)
    server.start()
    time.sleep(random.uniform(0.5, 1.5))
    server.stop()
    newest = _move_database(server.instance, server.instance.with_name("newest"))
    _copy_database(older, server.instance)
    names = _names(server.instance)
    for folder in FILES:  # so that all the newer ones count as left behind
        for path in (server.instance / folder).iterdir():
            os.utime(path, (time.time() - LONG_AGO_SECONDS,) * 2)
    server.command("jobs", "prune")
    kept = _names(server.instance) | _names(server.instance / "lost")
    faults = [f"{name} was deleted for an older database" for name in sorted(names - kept)]
    for path in server.instance.glob("ezstems.sqlite3*"):
        path.unlink()
    _move_database(newest, server.instance)
    server.start()
    return faults


def restore(server: Server, random: Random) -> list[str]:
    """Back up under way, restore it elsewhere, and let that server end every job."""
    tar, folder = server.instance.with_name("backup.tar"), server.instance.with_name("restored")
    server.command("backup", str(tar))
    server.command("restore", str(tar), "--to", str(folder))
    faults = []
    with server.beside(folder) as other:
        deadline = time.monotonic() + 120
        while rows := other.rows("SELECT id FROM jobs WHERE status IN ('queued', 'processing')"):
            if time.monotonic() > deadline:
                faults.append(f"restored, {len(rows)} jobs don't end")
                break
            time.sleep(0.1)
        for row in other.rows("SELECT id, error FROM jobs WHERE status = 'failed' AND expired_at IS NULL"):
            was = server.rows("SELECT 1 FROM jobs WHERE id = ? AND status = 'failed'", row["id"])
            faults += [] if was else [f"restored, {row['id']} fails: {row['error']}"]
        for row in other.rows("SELECT id FROM jobs WHERE status = 'completed' AND expired_at IS NULL"):
            if not (folder / "results" / f"{row['id']}.zip").exists():
                faults.append(f"restored, {row['id']} has no result")
    shutil.rmtree(folder)
    tar.unlink()
    return faults


def clock(server: Server, random: Random) -> list[str]:
    """Let the clock jump under a running server, restart under it, prune, and set it right."""
    names = _results(server)
    set_clock(server, random.choice(CLOCKS))
    time.sleep(random.uniform(0.5, 1.5))
    if random.random() < 0.5:
        server.stop()
        server.start()
    server.command("jobs", "prune")
    time.sleep(random.uniform(0.5, 1.5))
    set_clock(server, 0)
    server.command("jobs", "prune")
    gone = {row["id"] for row in server.rows("SELECT id FROM jobs WHERE expired_at IS NOT NULL AND error IS NULL")}
    deleted = {name for name in names if name.partition(".")[0] in gone}
    return [f"{name} went by the clock" for name in sorted(names - deleted - _results(server))]


def two_servers(server: Server, random: Random) -> list[str]:
    """Start a second server on the same instance, and stop or kill it."""
    with server.beside(server.instance) as other:
        time.sleep(random.uniform(0.5, 2))
        if random.random() < 0.5:
            other.stop()
    return []


def commands(server: Server, random: Random) -> list[str]:
    """Run the operator's commands beside the server."""
    asked = [
        ("jobs", "list"), ("jobs", "prune"), ("users", "list"), ("keys", "list"), ("instance", "show"),
        ("backup", str(server.instance.with_name("beside.tar"))),
    ]  # fmt: skip
    for arguments in random.sample(asked, len(asked)):
        server.command(*arguments)
    server.instance.with_name("beside.tar").unlink()
    return []


def locks(server: Server, random: Random) -> list[str]:
    """Clear the folder of the workers' locks away."""
    for path in (server.instance / "workers").glob("*"):
        path.unlink(missing_ok=True)
    time.sleep(random.uniform(1, 3))
    return []


def moved(server: Server, random: Random) -> list[str]:
    """Move the instance away, run a command where it was, move it back, restart, and retry what failed by that."""
    aside = server.instance.with_name("moved")
    server.instance.rename(aside)
    time.sleep(random.uniform(0.2, 1))
    told = server.attempt("users", "list")
    made = server.instance.exists()
    if made:
        shutil.rmtree(server.instance)
    aside.rename(server.instance)
    server.stop()
    server.start()
    query = "SELECT id FROM jobs WHERE status = 'failed' AND error = ? AND expired_at IS NULL"
    if failed := [row["id"] for row in server.rows(query, BROKEN)]:
        server.command("jobs", "retry", *failed)
    faults = ["a command made an instance anew"] if made else []
    return faults + ([] if told.returncode else ["a command found users where no instance is"])


def standstill(server: Server, random: Random) -> list[str]:
    """Let a worker stand still for a while."""
    pid = random.choice(server.workers())
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(random.uniform(1, 4))
    finally:
        os.kill(pid, signal.SIGCONT)
    return []


SLIPS: dict[str, Callable[[Server, Random], list[str]]] = {
    "a wrong database": wrong_database,
    "an older database": older_database,
    "a restore": restore,
    "a clock": clock,
    "two servers": two_servers,
    "commands": commands,
    "locks away": locks,
    "an instance moved": moved,
    "a standstill": standstill,
}
# While this lasts, a server that refuses to take anything in, or to tell, is right.
OUTAGE = "an instance moved"


def _refused(server: Server, **settings: str) -> list[str]:
    before = _state(server.instance)
    done = server.refuse(**settings)
    told = done.stderr.strip()
    faults = [f"{path} is not as it was" for path, _ in sorted(before ^ _state(server.instance))]
    if not done.returncode or "\n" in told or "instance adopt" not in told:
        faults.append(f"a start that doesn't fit ended with {done.returncode}: {told[-500:]}")
    return faults


def _state(instance: Path) -> set[tuple[str, int]]:
    files = [path for folder in (*FILES, "lost") for path in (instance / folder).rglob("*")]
    return {(str(path.relative_to(instance)), path.stat().st_size) for path in files}


def _names(folder: Path) -> set[str]:
    return {path.name for name in FILES if (folder / name).is_dir() for path in (folder / name).iterdir()}


def _results(server: Server) -> set[str]:
    return {path.name for path in (server.instance / "results").glob("*.zip")}


def _move_database(folder: Path, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    for path in list(folder.glob("ezstems.sqlite3*")):
        path.rename(target / path.name)
    return target


def _copy_database(folder: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in folder.glob("ezstems.sqlite3*"):
        shutil.copy2(path, target / path.name)
