"""Calls that Schemathesis makes up from `/api/openapi.json`, right and wrong ones: every answer is as described."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.callers import Caller
from tests.support.openapi import EXAMPLE_ID
from tests.support.servers import ROOT, Server

# Calls of each kind that are made up for each endpoint; more of them find more, and take longer.
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "4")
CONFIGURATION = f"""
hooks = "{ROOT}/tests/support/schemathesis_hooks.py"
[[operations]]
include-name = "GET /api/v1/download.php"
# A right id may be of no job, or of one that isn't done; a right header may name a range past the end.
checks.positive_data_acceptance.expected-statuses = ["2xx", 304, 400, 404, 416]
"""


# What must have been among the answers, or that nothing was found would mean little.
REACHED = {f"GET /api/v1/download.php {status}" for status in (200, 400, 401, 404)} | {
    "POST /api/v1/upload.php 200",
    "POST /api/v1/upload.php 400",
    "GET /api/v1/jobs.php 200",
    "GET /api/v1/jobs.php 400",
    "DELETE /api/v1/jobs.php 404",
    "GET /api/v1/status.php 200",
    "GET /api/v1/keys.php 200",
    "DELETE /api/v1/keys.php 200",
    "POST /api/v1/keys.php 401",
}


def test_every_call_that_schemathesis_makes_up_is_answered_as_described(tmp_path: Path, song: bytes) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", "schemathesis.toml", "--no-color"]
    options = ["--checks", "all", "--warnings", "off", "--request-timeout", "60", "--no-shrink"]
    options += ["--generation-deterministic", "--max-examples", EXAMPLES]
    with Server(tmp_path / "instance", webhooks="on") as server:
        key = server.key(plan="pro")
        finish_example(Caller(server, key), song)
        answers = tmp_path / "answers"
        names = {"INSTANCE": server.instance, "URL": server.environ.get("EZSTEMS_DATABASE_URL", ""), "ANSWERS": answers}
        done = subprocess.run(
            [*command, "run", f"{server.url}/api/openapi.json", "-H", f"Authorization: Bearer {key}", *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **{f"SCHEMATHESIS_{name}": str(names[name]) for name in names}},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert set(answers.read_text().splitlines()) >= REACHED
        assert "Traceback" not in server.log.read_text()


def finish_example(caller: Caller, song: bytes) -> None:
    """Finish a job that has the id of the description's examples: the first that is asked for."""
    job_id = caller.upload(song)["id"]
    caller.wait(job_id)
    caller.server.rows("UPDATE jobs SET id = ? WHERE id = ?", EXAMPLE_ID, job_id)
    if (bucket := caller.server.bucket()) is not None:
        for stored in list(bucket.list("results")):
            bucket.copy(stored.key, stored.key.with_name(stored.key.name.replace(job_id, EXAMPLE_ID)))
        return
    for file in (caller.server.instance / "results").glob(f"{job_id}.*"):
        file.rename(file.with_stem(EXAMPLE_ID))
