"""What datamodel-code-generator makes: the classes alone; requests makes the calls."""

import os
import time
from pathlib import Path

import requests
from ezstems_models import AcceptedAnswer, JobAnswer, KeysAnswer, Output, Status, Stems

API = f"{os.environ['EZSTEMS_URL']}/api/v1"
session = requests.Session()
session.headers["Authorization"] = f"Bearer {os.environ['EZSTEMS_KEY']}"

form = {"stems": Stems.integer_2.value, "output": Output.flac.value}
with Path("song.mp3").open("rb") as song:
    answer = session.post(f"{API}/upload.php", files={"file": song}, data=form)
job = AcceptedAnswer.model_validate_json(answer.content).data
while job.status in (Status.queued, Status.processing):
    time.sleep(0.2)
    answer = session.get(f"{API}/status.php", params={"id": job.id})
    job = JobAnswer.model_validate_json(answer.content).data
assert job.status is Status.completed, job
Path("stems.zip").write_bytes(session.get(f"{API}/download.php", params={"id": job.id}).content)
assert KeysAnswer.model_validate_json(session.get(f"{API}/keys.php").content).data[0].is_active == 1
