"""Run the compose file's profile `cluster`; kill a box in its song, add boxes, stop all, start all, lose nothing.

By hand, as `.venv/bin/python -m tests.operations.cluster_containers`, and with the same COMPOSE as container.py; port
8080 must be free. Passwords are made up for the time of the run where there is no cluster.env.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.operations.container import ENGINE, Caller, build, compose, containers, healthy, run
from tests.support.servers import PASSWORD, ROOT

URL = "http://127.0.0.1:8080"
DEPLOY = ROOT / "ezstems" / "deploy"


def cluster(*arguments: str, check: bool = True) -> str:
    """Run a command of compose on the cluster; return what it printed."""
    return compose("--profile", "cluster", *arguments, check=check)


def example(database_password: str, store_password: str) -> str:
    """Return the example of cluster.env, filled in as it says."""
    lines = (DEPLOY / "cluster.env.example").read_text().replace("THE_SAME_PASSWORD", database_password)
    filled = {"POSTGRES_PASSWORD=": database_password, "AWS_SECRET_ACCESS_KEY=": store_password}
    return "".join(f"{line}{filled.get(line, '')}\n" for line in lines.splitlines())


@contextmanager
def secret_settings(path: Path) -> Iterator[None]:
    """Let there be a cluster.env, and remove it if it wasn't there."""
    if path.exists():
        yield
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(example(secrets.token_hex(24), secrets.token_hex(24)))
    try:
        yield
    finally:
        path.unlink()


def main() -> None:
    """Do it all, and say how long it took."""
    with secret_settings(DEPLOY / "cluster.env"):
        build()
        try:
            started = time.monotonic()
            cluster("up", "--detach", "--no-build", "nginx", "worker")
            print(f"{time.monotonic() - started:.1f} s to start, {healthy(URL, workers=2):.1f} s more to two workers")
            serve()
        except BaseException:
            print(cluster("logs", "--tail", "50", check=False))
            raise
        finally:
            cluster("down", "--volumes", check=False)


def serve() -> None:
    """Separate, kill, scale, stop and start."""
    web = ("exec", "-T", "web", "ezstems")
    assert "cluster.env" not in compose("exec", "-T", "web", "find", "/opt", "-name", "cluster.env")
    cluster(*web, "users", "add", "someone@example.com", "--plan", "pro", "--password", PASSWORD)
    caller = Caller(cluster(*web, "keys", "add", "someone@example.com").splitlines()[-1], URL)
    first = caller.upload(11)
    caller.wait(first, "completed")
    stems, path = caller.stems(first), f"download.php?id={first}"
    part = caller.call("GET", path, headers={"Range": "bytes=1000-1999"})
    assert part.status_code == 206 and part.content == caller.call("GET", path).content[1000:2000]

    job_id, started = caller.upload(1200), time.monotonic()
    caller.wait(job_id, "processing")
    (box,) = boxes_of(job_id)
    run(ENGINE, "kill", box)
    caller.wait(job_id, "completed")
    assert len(boxes_of(job_id)) == 2, "the box had ended the song before it was killed"
    print(f"a killed box's song ended elsewhere {time.monotonic() - started:.0f} s after its upload")

    cluster("up", "--detach", "--no-build", "--no-recreate", "--scale", "worker=3", "worker")
    print(f"{healthy(URL, workers=3):.1f} s to three workers")
    cluster("restart", "nginx")
    print(f"{healthy(URL):.1f} s to /health behind nginx, started again")

    cut_short = [caller.upload(1200) for _ in range(3)]
    caller.wait(cut_short[0], "processing")
    started = time.monotonic()
    cluster("stop")
    print(f"all stopped in {time.monotonic() - started:.1f} s")
    cluster("up", "--detach", "--no-build", "--no-recreate", "--scale", "worker=3", "nginx", "worker")
    print(f"{healthy(URL, workers=3):.1f} s to three workers")
    for job_id in cut_short:
        caller.wait(job_id, "completed")
        print(job_id, caller.stems(job_id))
    assert caller.stems(first) == stems


def boxes_of(job_id: str) -> list[str]:
    """Return the separation boxes whose log says that they began a song."""
    return [box for box in containers("worker") if f"job {job_id}: started" in run(ENGINE, "logs", box, check=False)]


if __name__ == "__main__":
    main()
